//! From a Frappe `apps.json` to one built bench.
//!
//! [`spec`] reads what to build, [`lock`] pins it, and [`git`] fetches each pinned commit into the [`cache`]. Then
//! [`mod@bench`] builds the bench in a [`sandbox`], whose only network is the [`egress`] proxy, [`normalize`] makes
//! two builds equal, and [`image_tree`] adds owners, times and layers.
//!
//! Import order, from the modules without imports to those that use all others: `parallel`, `progress`, `secret`,
//! `atomic_write`, `error_chain` ← `net` ← `cache`, `git` ← `app` ← `spec` ← `lock` ← `normalize` ← `sandbox`, `egress` ←
//! `bench` ← `image_tree`.

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
