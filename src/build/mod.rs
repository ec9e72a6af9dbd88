//! The stages of a build, one file for each; [`crate::pipeline`] calls them in order.
//!
//! Import order: `options`, `egress`, `fetch`, `client_caches` ← `bench`, `recording` ← `lock`; `pack`, `assemble`.

pub mod assemble;
pub mod bench;
pub mod client_caches;
pub mod egress;
pub mod fetch;
pub mod lock;
pub mod options;
pub mod pack;
pub mod recording;
