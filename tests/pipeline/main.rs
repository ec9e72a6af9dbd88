//! The whole way, on the example apps: a real git server, a real bench, a real registry, and other
//! programs as judges.

#[path = "../common/demo.rs"]
mod demo;
mod judges;
mod kill;
mod push;
#[path = "../common/registry.rs"]
mod registry;
mod reproducible;
mod secrets;
