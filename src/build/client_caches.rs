//! The caches of the package managers that bench runs (uv, pip, yarn, npm): see docs/adr/0004.

use std::fs;
use std::path::{Path, PathBuf};

use carafe_builder::cache::{Bucket, CacheError, Claim, Scratch};
use carafe_builder::egress::{Mode, Recording};

use super::policy::BuildPolicy;
use crate::context::Context;

/// The caches of the package managers for one build.
pub enum ClientCaches {
    /// The caches that belong to the recording of this build, which no other build uses at the same time. They are
    /// empty if the last build that used them failed or was killed: yarn fails with a cache that is incomplete.
    Claimed(Claim),
    /// New, empty caches: a build that records must send every request. The sandbox is the same in both cases.
    Empty(PathBuf),
    /// The caches of this machine, without a sandbox.
    Host,
}

impl ClientCaches {
    /// The caches for a build whose egress proxy is in `mode`.
    ///
    /// yarn's cache does not support two writers, so a second build with the same recording at the same time gets
    /// empty caches. A build that verifies another one gets empty caches too.
    pub fn open(
        mode: &Mode,
        scratch: &Scratch,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> Result<Self, CacheError> {
        if !policy.isolation.can_record() {
            return Ok(Self::Host);
        }
        if let (true, Mode::Replay(recording)) = (policy.reuse_downloads, mode)
            && let Some(claim) = bucket(context)?.claim(&recording.digest().hex())?
        {
            return Ok(Self::Claimed(claim));
        }
        let path = scratch.path().join("downloads");
        fs::create_dir(&path).map_err(|source| io("create", &path, source))?;
        Ok(Self::Empty(path))
    }

    /// The directory of the caches. `None` without a sandbox.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Claimed(claim) => Some(claim.path()),
            Self::Empty(path) => Some(path),
            Self::Host => None,
        }
    }

    /// Call it after a successful build: stores the caches for the builds that replay `recording`, if the policy
    /// allows this.
    pub fn store(
        self,
        recording: &Recording,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> Result<(), CacheError> {
        let path = match self {
            Self::Claimed(claim) => return claim.finish(),
            Self::Empty(path) if policy.reuse_downloads => path,
            Self::Empty(_) | Self::Host => return Ok(()),
        };
        let Some(claim) = bucket(context)?.claim(&recording.digest().hex())? else { return Ok(()) };
        match fs::rename(&path, claim.path()) {
            // A build that made the same recording was earlier.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            renamed => renamed.map_err(|source| io("publish", claim.path(), source))?,
        }
        claim.finish()
    }
}

fn bucket(context: &Context) -> Result<Bucket, CacheError> {
    context.cache.bucket("downloads", 2)
}

fn io(verb: &'static str, path: &Path, source: std::io::Error) -> CacheError {
    CacheError::Io { verb, path: path.to_owned(), source }
}
