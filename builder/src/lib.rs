//! From a Frappe `apps.json` to one built bench.
//!
//! The way through: [`spec`] says what the user wants, [`lock`] pins it, [`git`] fetches each
//! pinned commit into the [`cache`], [`sandbox`] gives bench a machine of its own, whose only way
//! out is the [`door`], and [`mod@bench`] drives it and settles what it left behind.

pub mod app;
pub mod atomic_write;
pub mod bench;
pub mod cache;
pub mod egress;
pub mod error_chain;
pub mod git;
pub mod image_tree;
pub mod lock;
pub mod net;
pub mod normalize;
pub mod parallel;
pub mod progress;
pub mod sandbox;
pub mod secret;
pub mod spec;
