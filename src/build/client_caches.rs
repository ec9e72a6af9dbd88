//! What bench's clients (uv, pip, yarn, npm) keep of what they downloaded: see docs/adr/0004.

use std::fs;
use std::path::{Path, PathBuf};

use carafe_builder::cache::{Bucket, CacheError, Claim, Scratch};
use carafe_builder::egress::{Mode, Recording};
use carafe_builder::sandbox::Isolation;

use super::policy::BuildPolicy;
use crate::context::Context;

/// The clients' caches of one build.
pub enum Downloads {
    /// Those that the recording of this build's record left, for this build alone.
    Claimed(Claim),
    /// Empty ones: a recording must see every request. What a build sees of them is the same.
    Empty(PathBuf),
    /// The machine's own: there is no sandbox.
    Forgotten,
}

impl Downloads {
    /// For a build whose door is in `mode`.
    ///
    /// yarn's cache does not bear two writers, so a second build of one record at the same time
    /// begins with empty ones, as a build does that checks another.
    pub fn of(
        mode: &Mode,
        scratch: &Scratch,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> Result<Self, CacheError> {
        if policy.isolation == Isolation::None {
            return Ok(Self::Forgotten);
        }
        if let (true, Mode::Replay(record)) = (policy.reuse_downloads, mode)
            && let Some(claim) = bucket(context)?.claim(&record.digest().hex())?
        {
            return Ok(Self::Claimed(claim));
        }
        let path = scratch.path().join("downloads");
        fs::create_dir(&path).map_err(|source| io("create", &path, source))?;
        Ok(Self::Empty(path))
    }

    /// The directory, if they are kept.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Claimed(claim) => Some(claim.path()),
            Self::Empty(path) => Some(path),
            Self::Forgotten => None,
        }
    }

    /// Keeps what a recording left for those who replay its record, unless later builds are not to
    /// have it.
    pub fn keep(
        self,
        record: &Recording,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> Result<(), CacheError> {
        let Self::Empty(path) = self else { return Ok(()) };
        if !policy.reuse_downloads {
            return Ok(());
        }
        let Some(claim) = bucket(context)?.claim(&record.digest().hex())? else { return Ok(()) };
        match fs::rename(&path, claim.path()) {
            // An earlier recording with the same result has left its own.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
            renamed => renamed.map_err(|source| io("publish", claim.path(), source)),
        }
    }
}

fn bucket(context: &Context) -> Result<Bucket, CacheError> {
    context.cache.bucket("downloads", 2)
}

fn io(verb: &'static str, path: &Path, source: std::io::Error) -> CacheError {
    CacheError::Io { verb, path: path.to_owned(), source }
}
