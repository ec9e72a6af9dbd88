//! A build's network: recorded, replayed, updated and refused, with an index, a registry and a git
//! host of the tests' own, all on loopback behind tokens and a private CA.

mod blocked;
mod bundle;
#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/demo.rs"]
#[allow(dead_code, reason = "the demo's apps are built elsewhere; its images and directories are shared")]
mod demo;
mod hosts;
mod recording;
#[path = "../common/registry.rs"]
#[allow(dead_code, reason = "the demo's")]
mod registry;
mod verify;
mod world;
