//! The root directory of the cache.

use std::fs;
use std::path::{Path, PathBuf};

use super::bucket::Bucket;
use super::error::CacheError;
use super::scratch::Scratch;

/// The cache of one user.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in `CARAFE_CACHE_DIR`, otherwise in `$XDG_CACHE_HOME/carafe`, otherwise in
    /// `$HOME/.cache/carafe`.
    pub fn from_environment() -> Result<Self, CacheError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("CARAFE_CACHE_DIR")
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("carafe")))
            .or_else(|| Some(variable("HOME")?.join(".cache/carafe")))
            .ok_or(CacheError::NoDirectory)?;
        Self::at(&root)
    }

    /// The cache in this directory, which is created if it does not exist.
    pub fn at(root: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(root).map_err(CacheError::io("create", root))?;
        let root = fs::canonicalize(root).map_err(CacheError::io("open", root))?;
        Ok(Self { root })
    }

    /// The entries of one kind. The version is part of the name of their directory, so entries of
    /// another format are never read.
    pub fn bucket(&self, kind: &str, version: u32) -> Result<Bucket, CacheError> {
        Bucket::create(self.root.join(format!("{kind}-v{version}")))
    }

    /// A directory of this process, removed when dropped. Those of dead processes are removed first.
    pub fn scratch(&self) -> Result<Scratch, CacheError> {
        let bucket = self.bucket("work", 1)?;
        Scratch::remove_abandoned(bucket.path());
        Scratch::new(bucket.path())
    }
}
