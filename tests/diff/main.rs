//! `carafe diff` on small images, made here: no bench, no network.

mod check_layers;
mod distance;
#[path = "../../layers/tests/pack/fixture.rs"]
#[allow(dead_code)]
mod fixture;
mod images;
mod program;
#[path = "../common/registry.rs"]
#[allow(dead_code)]
mod registry;
#[path = "../../layers/tests/unpack_support/mod.rs"]
mod unpack_support;
