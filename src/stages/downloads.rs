//! What bench's clients (uv, pip, yarn, npm) keep of what they downloaded: see docs/adr/0004.

use std::fs;
use std::path::{Path, PathBuf};

use carafe_builder::cache::{Bucket, CacheError, Claim, Scratch};
use carafe_builder::door::{Mode, Record};
use carafe_builder::sandbox::Isolation;

use crate::context::Context;

/// The clients' caches of one build.
pub enum Downloads {
    /// Those that the recording of this build's record left, for this build alone.
    Claimed(Claim),
    /// Empty ones: a recording must see every request.
    Empty(PathBuf),
    /// None that outlive the build.
    Forgotten,
}

impl Downloads {
    /// For a build whose door is in `mode`.
    ///
    /// yarn's cache does not bear two writers, so a second build of one record at the same time
    /// goes without.
    pub fn of(mode: &Mode, scratch: &Scratch, context: &Context) -> Result<Self, CacheError> {
        if !context.warm_clients || context.isolation == Isolation::None {
            return Ok(Self::Forgotten);
        }
        match mode {
            Mode::Replay(record) => {
                let claim = bucket(context)?.claim(&record.digest().hex())?;
                Ok(claim.map_or(Self::Forgotten, Self::Claimed))
            }
            Mode::Record { .. } => {
                let path = scratch.path().join("downloads");
                fs::create_dir(&path).map_err(|source| io("create", &path, source))?;
                Ok(Self::Empty(path))
            }
        }
    }

    /// The folder, if they are kept.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Claimed(claim) => Some(claim.path()),
            Self::Empty(path) => Some(path),
            Self::Forgotten => None,
        }
    }

    /// Keeps what a recording left for those who replay its record.
    pub fn keep(self, record: &Record, context: &Context) -> Result<(), CacheError> {
        let Self::Empty(path) = self else { return Ok(()) };
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
