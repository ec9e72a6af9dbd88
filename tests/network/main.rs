//! A build's network: recording, replay, update and blocked requests, with a package index, an npm
//! registry and a git host on loopback, which require tokens and have certificates of a private CA.

mod blocked;
mod bundle;
#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/demo.rs"]
#[allow(
    dead_code,
    reason = "the demo's apps are built by other tests; its images and directories are shared"
)]
mod demo;
mod hosts;
mod recording;
#[path = "../common/registry.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod registry;
mod verify;
mod world;
