//! Removes `.git` at every depth.

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;

pub(super) const RULE: Rule = Rule {
    name: "git-metadata",
    reason: "a clone's index, reflog and packs contain times; no program reads them at run time",
    apply,
};

/// `.git` is a directory in a clone, and a file in a submodule or a worktree.
fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let found = tree.find("", |entry| entry.file_name() == ".git")?;
    found.iter().try_for_each(|path| tree.remove(path))?;
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::super::bench_tree::tests::bench;
    use super::*;

    #[test]
    fn removes_directories_and_files_at_every_depth() {
        let (directory, tree) = bench(
            &[
                ("apps/frappe/.git/HEAD", "ref: refs/heads/main\n"),
                ("apps/frappe/.gitignore", "*.pyc\n"),
                ("apps/hrms/frappe-ui/.git", "gitdir: ../.git/modules/frappe-ui\n"),
                ("apps/hrms/.github/workflows/ci.yml", ""),
            ],
            Vec::new(),
        );
        assert_eq!(apply(&tree).unwrap(), 2);
        assert!(!directory.path().join("apps/frappe/.git").exists());
        assert!(!directory.path().join("apps/hrms/frappe-ui/.git").exists());
        assert!(directory.path().join("apps/frappe/.gitignore").exists());
        assert!(directory.path().join("apps/hrms/.github/workflows/ci.yml").exists());
        assert_eq!(apply(&tree).unwrap(), 0);
    }
}
