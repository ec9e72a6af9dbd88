//! `carafe diff` of small images that the tests write: without bench, without network.

mod check_layers;
mod distance;
#[path = "../../layers/tests/pack/fixture.rs"]
#[allow(dead_code)]
mod fixture;
mod images;
#[path = "../common/json_output.rs"]
#[allow(dead_code)]
mod json_output;
mod program;
#[path = "../common/registry.rs"]
#[allow(dead_code)]
mod registry;
#[path = "../../layers/tests/unpack_support/mod.rs"]
mod unpack_support;
