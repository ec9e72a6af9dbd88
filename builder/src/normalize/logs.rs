//! Empties `logs/`.

use std::path::Path;

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;

pub(super) const RULE: Rule =
    Rule { name: "logs", reason: "bench.log contains times, and the URLs of clones", apply };

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let logs = Path::new("logs");
    if tree.kind(logs)?.is_none() {
        tree.create_directory(logs)?;
    }
    let names = tree.names(logs)?;
    names.iter().try_for_each(|name| tree.remove(&logs.join(name)))?;
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::super::bench_tree::tests::bench;
    use super::*;

    #[test]
    fn keeps_an_empty_directory() {
        let line =
            "2026-11-21 11:10:35,431 DEBUG cd frappe-bench/apps && git clone https://me:token@host/x.git";
        let (directory, tree) = bench(&[("logs/bench.log", line), ("logs/old/web.log", "")], Vec::new());
        assert_eq!(apply(&tree).unwrap(), 2);
        assert_eq!(std::fs::read_dir(directory.path().join("logs")).unwrap().count(), 0);

        let (directory, tree) = bench(&[], Vec::new());
        assert_eq!(apply(&tree).unwrap(), 0);
        assert!(directory.path().join("logs").is_dir());
    }
}
