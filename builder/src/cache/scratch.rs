//! Directories of one run's own, and how they go away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::error::CacheError;
use super::lock::open_locked;

/// A directory that is removed when dropped, or by the next run if this one is killed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    const PREFIX: &str = ".scratch-";
    const LOCK: &str = ".owner";

    pub(super) fn new(parent: &Path) -> Result<Self, CacheError> {
        // Held until the new directory has an owner, so that no sweep takes it for a dead run's.
        let _birth = Self::birth(parent).map_err(CacheError::io("lock", parent))?;
        let directory = tempfile::Builder::new().prefix(Self::PREFIX).tempdir_in(parent);
        let path = directory.map_err(CacheError::io("create a directory in", parent))?.keep();
        let lock_path = path.join(Self::LOCK);
        let lock = open_locked(&lock_path, FlockOperation::LockExclusive)
            .map_err(CacheError::io("lock", &lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directories in `parent` whose owner is dead. A failure to is no failure of the run.
    pub(super) fn sweep(parent: &Path) {
        let Ok(entries) = fs::read_dir(parent) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_scratch = entry.file_name().to_string_lossy().starts_with(Self::PREFIX);
            if is_scratch
                && path.is_dir()
                && let Some(_lock) = Self::abandoned(&path)
            {
                let _ = remove_tree(&path);
            }
        }
    }

    fn birth(parent: &Path) -> io::Result<File> {
        open_locked(&parent.join(".birth.lock"), FlockOperation::LockExclusive)
    }

    /// The lock of a scratch directory whose owner is gone.
    fn abandoned(path: &Path) -> Option<File> {
        let _birth = Self::birth(path.parent()?).ok()?;
        // A run that was killed before it made the lock file left none.
        open_locked(&path.join(Self::LOCK), FlockOperation::NonBlockingLockExclusive).ok()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// Removes a tree in which a build may have left directories that their owner may not even read.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    open_up(path)?;
    fs::remove_dir_all(path)
}

/// Lets the owner into every directory beneath.
fn open_up(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    #[test]
    fn the_scratch_of_a_dead_run_is_swept_and_that_of_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let live = cache.scratch().unwrap();
        let dead = live.path().parent().unwrap().join(".scratch-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(Scratch::LOCK), "").unwrap();
        let _next = cache.scratch().unwrap();
        assert!(live.path().exists() && !dead.exists());
    }

    #[test]
    fn read_only_directories_are_removed_too() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o555)).unwrap();
        fs::create_dir(directory.path().join("a/c")).unwrap();
        fs::set_permissions(directory.path().join("a/c"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&directory.path().join("a")).unwrap();
        assert!(!directory.path().join("a").exists());
    }
}
