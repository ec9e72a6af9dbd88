//! Removes Python's bytecode caches. The recipe compiles all files after the rules.

use std::ffi::OsStr;

use walkdir::DirEntry;

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;

pub(super) const RULE: Rule = Rule {
    name: "python-caches",
    reason: "a .pyc contains the modification time of its source, and is written only for modules that the build imports",
    apply,
};

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let found = tree.find("", is_cache)?;
    found.iter().try_for_each(|path| tree.remove(path))?;
    Ok(found.len())
}

/// Matches `__pycache__`, and a `.pyc` in the directory of its source, which is the older layout. A `.pyc` without
/// a source is part of a package.
fn is_cache(entry: &DirEntry) -> bool {
    if entry.file_name() == "__pycache__" {
        return true;
    }
    let source = entry.path().with_extension("py");
    entry.path().extension() == Some(OsStr::new("pyc")) && source.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::bench_tree::tests::bench;
    use super::*;

    #[test]
    fn removes_caches_and_keeps_files_of_packages() {
        let (directory, tree) = bench(
            &[
                ("env/lib/python3.11/site-packages/click/core.py", ""),
                ("env/lib/python3.11/site-packages/click/__pycache__/core.cpython-311.pyc", ""),
                ("apps/frappe/frappe/old.py", ""),
                ("apps/frappe/frappe/old.pyc", ""),
                ("env/lib/python3.11/site-packages/closed/source.pyc", ""),
            ],
            Vec::new(),
        );
        assert_eq!(apply(&tree).unwrap(), 2);
        let packages = directory.path().join("env/lib/python3.11/site-packages");
        assert!(!packages.join("click/__pycache__").exists());
        assert!(packages.join("closed/source.pyc").exists());
        assert!(!directory.path().join("apps/frappe/frappe/old.pyc").exists());
    }
}
