//! The order of the root crate's modules, which `src/lib.rs` documents.

#[path = "common/layering.rs"]
mod layering;

use std::path::Path;

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

#[test]
fn modules_import_only_lower_modules() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(layering::check_strict(&source, &ORDER), [""; 0]);
}
