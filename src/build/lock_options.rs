//! How a build obtains its lock and its recording.

use std::path::PathBuf;

use carafe_builder::egress::Update;

/// How a build obtains its lock and its recording.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// The lock file.
    pub path: PathBuf,
    /// Nothing may be resolved now: the lock or the spec must pin everything.
    pub locked: bool,
    /// Resolve every name again first, as `carafe lock` does.
    pub renew: bool,
    /// What is recorded again although a recording has it.
    pub update: Option<Update>,
}
