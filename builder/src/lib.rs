//! From a Frappe `apps.json` to one built bench.
//!
//! The way through: [`spec`] says what the user wants, [`lock`] pins it, [`git`] fetches each
//! pinned commit into the [`cache`], [`sandbox`] gives bench a machine of its own, whose only way
//! out is the [`door`], and [`mod@bench`] drives it and settles what it left behind.

pub mod bench;
pub mod cache;
pub mod canonical;
pub mod causes;
pub mod door;
pub mod files;
pub mod git;
pub mod lock;
pub mod parallel;
pub mod progress;
pub mod retry;
pub mod runtime;
pub mod sandbox;
pub mod secret;
pub mod spec;
pub mod tls;
