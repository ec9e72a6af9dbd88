//! The lock: a file with every input that determines image bytes, pinned.
//!
//! [`pin`] makes its apps from a spec, [`fetch`] gets the apps of an existing lock, and [`Lock::to_spec`] returns a
//! spec for a lock that comes without one, from an image or a bundle.
//!
//! Import order: `app` ← `error` ← `document` ← `pin`, `to_spec`.

mod app;
mod document;
mod error;
mod pin;
mod to_spec;

pub use app::{LockedApp, LockedSource};
#[cfg(test)]
pub(crate) use document::tests;
pub use document::{LOCK_VERSION, Lock, LockedImage, MAX_LOCK_BYTES, newest};
pub use error::LockError;
pub use pin::{MAX_PARALLEL_FETCHES, PinnedApp, UnpinnedPolicy, fetch, pin};
