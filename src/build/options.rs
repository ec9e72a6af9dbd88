//! Options that determine the lock and the recording of a build.

use std::path::PathBuf;

use carafe_builder::egress::Update;

/// Options that determine the lock and the recording of a build.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// The lock file.
    pub path: PathBuf,
    /// Everything must be pinned: no name is resolved, and no recording is made.
    pub locked: bool,
    /// Locks again first, as `carafe lock` does.
    pub relock: bool,
    /// Requests that are recorded again although there is a recording.
    pub update: Option<Update>,
}
