//! Scratch directories, each owned by one process, and their removal.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::error::CacheError;
use super::lock::open_locked;

/// A directory that is removed when dropped, or by the next process if this one is killed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    const PREFIX: &str = ".scratch-";
    /// The file in the directory that its owner locks.
    const OWNER_LOCK: &str = ".owner";
    /// The file in the parent directory that serializes creation and removal.
    const CREATION_LOCK: &str = ".creation.lock";

    pub(super) fn new(parent: &Path) -> Result<Self, CacheError> {
        // Held until the new directory has an owner: without one, it looks abandoned.
        let _creation = Self::lock_creation(parent).map_err(CacheError::io("lock", parent))?;
        let directory = tempfile::Builder::new().prefix(Self::PREFIX).tempdir_in(parent);
        let path = directory.map_err(CacheError::io("create a directory in", parent))?.keep();
        let lock_path = path.join(Self::OWNER_LOCK);
        let lock = open_locked(&lock_path, FlockOperation::LockExclusive)
            .map_err(CacheError::io("lock", &lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the scratch directories in `parent` whose owner is dead. Failures are ignored: the
    /// next process tries again.
    pub(super) fn remove_abandoned(parent: &Path) {
        let Ok(entries) = fs::read_dir(parent) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_scratch = entry.file_name().to_string_lossy().starts_with(Self::PREFIX);
            if is_scratch
                && path.is_dir()
                && let Some(_lock) = Self::lock_abandoned(&path)
            {
                let _ = remove_tree(&path);
            }
        }
    }

    fn lock_creation(parent: &Path) -> io::Result<File> {
        open_locked(&parent.join(Self::CREATION_LOCK), FlockOperation::LockExclusive)
    }

    /// The owner lock of a scratch directory; `None` while its owner lives.
    fn lock_abandoned(path: &Path) -> Option<File> {
        let _creation = Self::lock_creation(path.parent()?).ok()?;
        // The lock file is missing if the owner was killed before it created the file.
        open_locked(&path.join(Self::OWNER_LOCK), FlockOperation::NonBlockingLockExclusive).ok()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// Removes a directory tree, also one with directories that its owner may neither read nor write, as
/// a build may leave them.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    make_accessible(path)?;
    fs::remove_dir_all(path)
}

/// Gives the owner access to the directory and all directories in it.
fn make_accessible(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_accessible(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_scratch_directories_of_dead_processes_only() {
        let directory = tempfile::tempdir().unwrap();
        let live = Scratch::new(directory.path()).unwrap();
        let dead = directory.path().join(".scratch-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(Scratch::OWNER_LOCK), "").unwrap();
        Scratch::remove_abandoned(directory.path());
        assert!(live.path().exists() && !dead.exists());
    }

    #[test]
    fn removes_directories_without_permissions() {
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
