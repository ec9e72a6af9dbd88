//! Python's bytecode caches go: bench's recipe compiles everything anew when the rules are done.

use std::ffi::OsStr;

use walkdir::DirEntry;

use super::{BenchTree, NormalizeError, Rule};

pub(super) const RULE: Rule = Rule {
    name: "python-caches",
    reason: "a .pyc holds its source's mtime, and is written only for what happened to be imported",
    apply,
};

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let found = tree.find("", is_cache)?;
    found.iter().try_for_each(|path| tree.remove(path))?;
    Ok(found.len())
}

/// `__pycache__`, whatever it is, and the older layout with the `.pyc` beside its source. One
/// without a source is what a package ships, and stays.
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
    fn what_was_compiled_goes_and_what_was_shipped_stays() {
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
