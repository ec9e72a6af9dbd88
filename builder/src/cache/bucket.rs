//! A bucket: the cache entries of one kind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags, ioctl_getflags, ioctl_setflags};

use super::error::CacheError;
use super::lock::open_locked;
use super::scratch::{Scratch, remove_tree};

/// The entries of one kind: see [`Cache::bucket`](super::Cache::bucket).
#[derive(Clone, Debug)]
pub struct Bucket {
    path: PathBuf,
}

impl Bucket {
    pub(super) fn create(path: PathBuf) -> Result<Self, CacheError> {
        fs::create_dir_all(&path).map_err(CacheError::io("create", &path))?;
        set_topdir_flag(&path);
        Ok(Self { path })
    }

    /// The directory of the bucket, for files that are not entries (logs).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry `key` (letters, digits, `-`, `_`, `.`). If it does not exist, `create` fills an empty
    /// directory that becomes the entry. Idempotent; of several callers one creates the entry and the
    /// others wait. If `create` fails, its directory is removed.
    pub fn entry<E: From<CacheError>>(
        &self,
        key: &str,
        create: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        debug_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{key}");
        let entry = self.path.join(key);
        if entry.is_dir() {
            return Ok(entry);
        }
        let _lock = self.lock(key)?;
        if entry.is_dir() {
            return Ok(entry);
        }
        Scratch::remove_abandoned(&self.path);
        let scratch = Scratch::new(&self.path)?;
        let directory = scratch.path().join("entry");
        fs::create_dir(&directory).map_err(CacheError::io("create", &directory))?;
        create(&directory)?;
        sync_file_system(&directory)?;
        fs::rename(&directory, &entry).map_err(CacheError::io("create", &entry))?;
        Ok(entry)
    }

    /// An entry that only this process may write to, created if it does not exist; `None` while
    /// another process has it. If its last claim was not [finished](Claim::finish), because the
    /// process was killed or failed, the entry is emptied first: it may be incomplete.
    pub fn claim(&self, key: &str) -> Result<Option<Claim>, CacheError> {
        let path = self.entry::<CacheError>(key, |_| Ok(()))?;
        let lock = self.lock_path(key);
        match open_locked(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Claim::start(self, key, path, lock).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(CacheError::io("lock", &lock)(error)),
        }
    }

    fn lock(&self, key: &str) -> Result<File, CacheError> {
        let path = self.lock_path(key);
        open_locked(&path, FlockOperation::LockExclusive).map_err(CacheError::io("lock", &path))
    }

    fn lock_path(&self, key: &str) -> PathBuf {
        self.path.join(format!(".{key}.lock"))
    }
}

/// An entry that only this process may write to, until dropped: see [`Bucket::claim`].
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Exists from the start of a claim until it is finished.
    unfinished: PathBuf,
    _lock: File,
}

impl Claim {
    fn start(bucket: &Bucket, key: &str, path: PathBuf, lock: File) -> Result<Self, CacheError> {
        let unfinished = bucket.path.join(format!(".{key}.unfinished"));
        if unfinished.exists() {
            empty(bucket, &path)?;
        }
        File::create(&unfinished).map_err(CacheError::io("create", &unfinished))?;
        Ok(Self { path, unfinished, _lock: lock })
    }

    /// Ends the claim. The next one gets the entry as it is now.
    pub fn finish(self) -> Result<(), CacheError> {
        fs::remove_file(&self.unfinished).map_err(CacheError::io("remove", &self.unfinished))
    }

    /// The directory of the entry.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the content of the entry at `path`. The directory stays: other processes wait for the lock
/// of an entry that does not exist.
fn empty(bucket: &Bucket, path: &Path) -> Result<(), CacheError> {
    let scratch = Scratch::new(&bucket.path)?;
    for child in fs::read_dir(path).map_err(CacheError::io("read", path))? {
        let child = child.map_err(CacheError::io("read", path))?;
        let child = child.path();
        let removed = scratch.path().join(child.file_name().unwrap_or_default());
        // A directory that its owner may not write to cannot be moved.
        if fs::rename(&child, removed).is_err() {
            remove_tree(&child).map_err(CacheError::io("remove", &child))?;
        }
    }
    Ok(())
}

/// Sets the flag `T` of `chattr`, if the file system supports it: the directories in `path` are
/// allocated far from each other. ext4 otherwise allocates a new file near its directory, and there
/// skips every inode that was freed in the last minutes: a tree that is created right after another
/// one was removed takes ten times as long.
fn set_topdir_flag(path: &Path) {
    let Ok(directory) = File::open(path) else { return };
    if let Ok(flags) = ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

/// Writes the complete file system of `path` to disk: one call instead of one for each file.
fn sync_file_system(path: &Path) -> Result<(), CacheError> {
    let directory = File::open(path).map_err(CacheError::io("open", path))?;
    rustix::fs::syncfs(&directory).map_err(|error| CacheError::io("sync", path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn sets_the_topdir_flag_where_the_file_system_supports_it() {
        let (directory, bucket) = bucket();
        let set = |path: &Path| {
            let directory = File::open(path).unwrap();
            ioctl_setflags(&directory, ioctl_getflags(&directory)? | IFlags::TOPDIR)
        };
        let is_set = ioctl_getflags(File::open(bucket.path()).unwrap())
            .is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
        assert_eq!(is_set, set(directory.path()).is_ok());
    }

    fn bucket() -> (tempfile::TempDir, Bucket) {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Bucket::create(directory.path().join("test-v1")).unwrap();
        (directory, bucket)
    }

    #[test]
    fn parallel_callers_create_an_entry_once() {
        let (_directory, bucket) = bucket();
        let created = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let create = |path: &Path| {
                        created.fetch_add(1, Ordering::Relaxed);
                        fs::write(path.join("file"), "x").map_err(CacheError::io("write", path))
                    };
                    let entry = bucket.entry("key", create).unwrap();
                    assert_eq!(fs::read_to_string(entry.join("file")).unwrap(), "x");
                });
            }
        });
        assert_eq!(created.into_inner(), 1);
    }

    #[test]
    fn an_entry_has_one_claim_at_a_time() {
        let (_directory, bucket) = bucket();
        let claim = bucket.claim("key").unwrap().unwrap();
        assert!(claim.path().is_dir());
        assert!(bucket.claim("key").unwrap().is_none());
        drop(claim);
        assert!(bucket.claim("key").unwrap().is_some());
    }

    #[test]
    fn a_claim_that_was_not_finished_leaves_nothing_to_the_next_one() {
        let (_directory, bucket) = bucket();
        let claim = || bucket.claim("key").unwrap().unwrap();
        let finished = claim();
        fs::create_dir(finished.path().join("complete")).unwrap();
        finished.finish().unwrap();
        let killed = claim();
        assert!(killed.path().join("complete").is_dir());
        fs::write(killed.path().join("complete/partial"), "x").unwrap();
        drop(killed);
        let next = claim();
        assert_eq!(fs::read_dir(next.path()).unwrap().count(), 0);
        next.finish().unwrap();
    }

    #[test]
    fn a_failure_creates_no_entry_and_can_be_repeated() {
        let (_directory, bucket) = bucket();
        let failed = bucket.entry("key", |path| {
            fs::write(path.join("partial"), "x").unwrap();
            Err(CacheError::NoDirectory)
        });
        assert!(failed.is_err());
        assert!(!bucket.path.join("key").exists());
        let entry = bucket.entry::<CacheError>("key", |_| Ok(())).unwrap();
        assert!(!entry.join("partial").exists());
    }
}
