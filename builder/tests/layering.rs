//! The order of the crate's modules, which `src/lib.rs` documents.

#[path = "../../tests/common/layering.rs"]
mod layering;

use std::fs;
use std::path::Path;

/// From the lowest to the highest.
const ORDER: [&str; 16] = [
    "parallel",
    "error_chain",
    "secret",
    "progress",
    "atomic_write",
    "net",
    "cache",
    "git",
    "app",
    "spec",
    "lock",
    "normalize",
    "sandbox",
    "egress",
    "bench",
    "image_tree",
];

#[test]
fn modules_import_only_lower_modules() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(layering::check_strict(&source, &ORDER), [""; 0]);
}

#[test]
fn a_planted_import_is_found() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lib.rs"), "pub mod lock;\npub mod spec;\n").unwrap();
    fs::write(directory.path().join("lock.rs"), "use crate::spec::Spec;\n").unwrap();
    fs::write(directory.path().join("spec.rs"), "use crate::lock::Lock;\npub struct Spec;\n").unwrap();
    let problems = layering::check(directory.path(), &["spec", "lock"]);
    assert!(problems.iter().any(|problem| problem.contains("`spec` is below `lock`")), "{problems:?}");
}
