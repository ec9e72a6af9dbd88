//! Bundles: what they are made of, what is refused, and builds from them.

#[allow(dead_code, reason = "the registry's tests use all of it")]
#[path = "../registry/images.rs"]
mod images;
#[path = "../common/registry.rs"]
mod server;

mod format;
mod hostile;
mod list;
mod world;
