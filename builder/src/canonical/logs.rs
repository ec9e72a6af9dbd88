//! logs/ is emptied.

use std::path::Path;

use super::{BenchTree, CanonicalError, Rule};

pub(super) const RULE: Rule =
    Rule { name: "logs", reason: "bench.log holds times, and the URLs that were cloned", apply };

fn apply(tree: &BenchTree) -> Result<usize, CanonicalError> {
    let logs = Path::new("logs");
    if tree.kind(logs)?.is_none() {
        tree.create_folder(logs)?;
    }
    let names = tree.names(logs)?;
    names.iter().try_for_each(|name| tree.remove(&logs.join(name)))?;
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::bench;
    use super::*;

    #[test]
    fn the_folder_stays_and_is_empty() {
        let line =
            "2026-11-21 11:10:35,431 DEBUG cd frappe-bench/apps && git clone https://me:token@host/x.git";
        let (folder, tree) = bench(&[("logs/bench.log", line), ("logs/old/web.log", "")], Vec::new());
        assert_eq!(apply(&tree).unwrap(), 2);
        assert_eq!(std::fs::read_dir(folder.path().join("logs")).unwrap().count(), 0);

        let (folder, tree) = bench(&[], Vec::new());
        assert_eq!(apply(&tree).unwrap(), 0);
        assert!(folder.path().join("logs").is_dir());
    }
}
