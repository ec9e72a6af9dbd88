//! `carafe verify`: an image as it was built, and changed ones.

#[path = "../common/demo.rs"]
#[allow(dead_code)]
mod demo;
#[path = "../common/json_output.rs"]
#[allow(dead_code)]
mod json_output;
mod planted;
mod program;
#[path = "../common/registry.rs"]
#[allow(dead_code)]
mod registry;
mod tampered;
#[path = "../../layers/tests/unpack_support/mod.rs"]
mod unpack_support;
mod variants;
