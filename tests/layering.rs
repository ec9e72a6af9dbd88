//! The order of the program's modules, which `src/lib.rs` documents.

#[path = "common/layering.rs"]
mod layering;

use std::fs;
use std::path::Path;

use layering::check;

/// From the lowest to the highest.
const ORDER: [&str; 14] = [
    "check",
    "output",
    "registry",
    "images",
    "context",
    "materials",
    "bundle",
    "build",
    "transfer",
    "diff",
    "verify",
    "doctor",
    "pipeline",
    "cli",
];

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn modules_import_only_lower_modules() {
    assert_eq!(check(&source(), &ORDER), [""; 0]);
}

#[test]
fn the_documentation_lists_the_same_order() {
    let root = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows = root.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split_once('`'));
    assert_eq!(rows.map(|(name, _)| name).collect::<Vec<_>>(), ORDER);
}

#[test]
fn a_planted_import_is_found() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lib.rs"), "pub mod cli;\npub mod output;\n").unwrap();
    fs::write(directory.path().join("cli.rs"), "use crate::output::Row;\n").unwrap();
    fs::write(directory.path().join("output.rs"), "use crate::cli::main;\npub struct Row;\n").unwrap();
    let problems = check(directory.path(), &["output", "cli"]);
    assert!(problems.iter().any(|problem| problem.contains("`output` is below `cli`")), "{problems:?}");
}
