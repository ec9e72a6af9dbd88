//! The order of the program's modules, which `src/lib.rs` documents.

#[path = "common/layering.rs"]
mod layering;

use std::fs;
use std::path::Path;

use layering::{check, check_strict};

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

/// The modules of `registry`, which `src/registry/mod.rs` documents, from the lowest to the highest.
const REGISTRY: [&str; 20] = [
    "reference",
    "report",
    "error",
    "mirrors",
    "auth",
    "tls",
    "options",
    "http",
    "executor",
    "endpoints",
    "manifest",
    "referrers",
    "upload",
    "client",
    "mount_candidates",
    "repository_client",
    "upload_queue",
    "push",
    "pull",
    "doctor",
];

/// [`ORDER`], with the modules of `registry` before `registry` itself.
fn order() -> Vec<String> {
    let registry = REGISTRY.map(|name| format!("registry::{name}"));
    let with_children = |name: &&str| match *name {
        "registry" => [&registry[..], &["registry".to_owned()]].concat(),
        name => vec![name.to_owned()],
    };
    ORDER.iter().flat_map(with_children).collect()
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn modules_import_only_lower_modules() {
    let order = order();
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    assert_eq!(check_strict(&source(), &order), [""; 0]);
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
