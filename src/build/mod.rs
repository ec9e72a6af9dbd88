//! The stages of a build, one file for each; [`crate::pipeline`] calls them in order.
//!
//! Import order, lowest first: `policy`, `fetch`, `client_caches`, `egress`, `bench`, `lock_options`,
//! `recording`, `lock`, `bundled`, `pack`, `assemble`, `built`.

pub mod assemble;
pub mod bench;
pub mod built;
pub mod bundled;
pub mod client_caches;
pub mod egress;
pub mod fetch;
pub mod lock;
pub mod lock_options;
pub mod pack;
pub mod policy;
pub mod recording;

pub use self::built::Built;
pub use self::lock_options::LockOptions;
pub use self::policy::BuildPolicy;
