//! The order of the crate's modules, which `src/lib.rs` documents.

#[path = "../../tests/common/layering.rs"]
mod layering;

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
