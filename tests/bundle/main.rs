//! Bundles: their format, rejected bundles, and the list of materials.

#[allow(dead_code, reason = "the registry's tests use all of it")]
#[path = "../registry/images.rs"]
mod images;
#[path = "../common/registry.rs"]
mod server;

mod format;
mod hostile;
mod list;
mod world;
