//! The stages of a build, one file for each; [`crate::pipeline`] calls them in order.
//!
//! Import order, lowest first: `policy`, `options`, `fetch`, `client_caches`, `egress`, `bench`, `recording`, `lock`,
//! `bundled`, `pack`, `assemble`, `built`.

pub mod assemble;
pub mod bench;
pub mod built;
pub mod bundled;
pub mod client_caches;
pub mod egress;
pub mod fetch;
pub mod lock;
pub mod options;
pub mod pack;
pub mod policy;
pub mod recording;

pub use self::built::Built;
pub use self::options::LockOptions;
pub use self::policy::BuildPolicy;
