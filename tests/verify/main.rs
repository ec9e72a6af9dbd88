//! `carafe verify`: an image that was left as it was built, and ones that somebody changed.

#[path = "../common/demo.rs"]
#[allow(dead_code)]
mod demo;
mod planted;
mod program;
#[path = "../common/registry.rs"]
#[allow(dead_code)]
mod registry;
mod tampered;
#[path = "../../layers/tests/unpack_support/mod.rs"]
mod unpack_support;
mod variants;
