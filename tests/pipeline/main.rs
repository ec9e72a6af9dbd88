//! The complete pipeline with the example apps: a real git server, a real bench, a real registry, and
//! other tools that verify the results.

#[path = "../common/demo.rs"]
mod demo;
mod interoperability;
mod kill;
mod push;
#[path = "../common/registry.rs"]
mod registry;
mod reproducible;
mod secrets;
