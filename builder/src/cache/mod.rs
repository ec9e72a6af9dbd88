//! The store under the user's cache directory: entries that are whole or not there.
//!
//! An entry is a directory. It is made under a temporary name and renamed when it is whole, so a
//! kill at any moment leaves at most a temporary directory, which the next run removes. A lock file
//! for each entry makes parallel runs wait for each other instead of doing the work twice; the
//! kernel drops the lock when its holder dies.

mod error;
mod lock;
mod scratch;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags, ioctl_getflags, ioctl_setflags};

use self::lock::open_locked;

pub use self::error::CacheError;
pub use self::scratch::{Scratch, remove_tree};

/// The whole store.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// At `CARAFE_CACHE_DIR`, else `$XDG_CACHE_HOME/carafe`, else `$HOME/.cache/carafe`.
    pub fn from_environment() -> Result<Self, CacheError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("CARAFE_CACHE_DIR")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("carafe")))
            .or_else(|| Some(set("HOME")?.join(".cache/carafe")))
            .ok_or(CacheError::NoPlace)?;
        Self::at(&root)
    }

    /// In this directory, which is made if it is not there.
    pub fn at(root: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(root).map_err(CacheError::io("create", root))?;
        let root = fs::canonicalize(root).map_err(CacheError::io("open", root))?;
        Ok(Self { root })
    }

    /// One kind of entries. The version is part of its directory's name: entries of another layout
    /// are never met.
    pub fn bucket(&self, kind: &str, version: u32) -> Result<Bucket, CacheError> {
        let path = self.root.join(format!("{kind}-v{version}"));
        fs::create_dir_all(&path).map_err(CacheError::io("create", &path))?;
        spread(&path);
        Ok(Bucket { path })
    }

    /// A directory of this run's own, removed when dropped; those of dead runs are removed first.
    pub fn scratch(&self) -> Result<Scratch, CacheError> {
        let bucket = self.bucket("work", 1)?;
        Scratch::sweep(&bucket.path);
        Scratch::new(&bucket.path)
    }
}

/// One kind of entries; see [`Cache::bucket`].
#[derive(Clone, Debug)]
pub struct Bucket {
    path: PathBuf,
}

impl Bucket {
    /// Its directory, for what is no entry (logs).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry `key` (letters, digits, `-`, `_`, `.`), made by `make` in an empty directory if it
    /// is not there. Idempotent; of several callers one makes it and the others wait. What `make`
    /// leaves behind when it fails is removed.
    pub fn entry<E: From<CacheError>>(
        &self,
        key: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
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
        Scratch::sweep(&self.path);
        let scratch = Scratch::new(&self.path)?;
        let directory = scratch.path().join("entry");
        fs::create_dir(&directory).map_err(CacheError::io("create", &directory))?;
        make(&directory)?;
        sync(&directory)?;
        fs::rename(&directory, &entry).map_err(CacheError::io("publish", &entry))?;
        Ok(entry)
    }

    /// An entry that this run alone may write to, made if it is not there; nothing while another
    /// run has it.
    pub fn claim(&self, key: &str) -> Result<Option<Claim>, CacheError> {
        let path = self.entry::<CacheError>(key, |_| Ok(()))?;
        let lock = self.path.join(format!(".{key}.lock"));
        match open_locked(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(Claim { path, _lock: lock })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(CacheError::io("lock", &lock)(error)),
        }
    }

    fn lock(&self, key: &str) -> Result<File, CacheError> {
        let path = self.path.join(format!(".{key}.lock"));
        open_locked(&path, FlockOperation::LockExclusive).map_err(CacheError::io("lock", &path))
    }
}

/// An entry that is this run's own until dropped: see [`Bucket::claim`].
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Claim {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Asks for the directories in `path` to lie apart on the disk (`T` of `chattr`), where the file system
/// knows how to. ext4 puts a new file beside its directory, and goes there past each inode that was
/// freed in the last minutes: a tree made right after another was removed takes ten times as long.
fn spread(path: &Path) {
    let Ok(directory) = File::open(path) else { return };
    if let Ok(flags) = ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

/// Puts the whole file system of `path` on disk: one call instead of one for each file.
fn sync(path: &Path) -> Result<(), CacheError> {
    let directory = File::open(path).map_err(CacheError::io("open", path))?;
    rustix::fs::syncfs(&directory).map_err(|error| CacheError::io("sync", path)(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn entries_lie_apart_where_the_file_system_can() {
        let (directory, bucket) = store();
        let set = |path: &Path| {
            let directory = File::open(path).unwrap();
            ioctl_setflags(&directory, ioctl_getflags(&directory)? | IFlags::TOPDIR)
        };
        let is_apart = ioctl_getflags(File::open(bucket.path()).unwrap())
            .is_ok_and(|flags| flags.contains(IFlags::TOPDIR));
        assert_eq!(is_apart, set(directory.path()).is_ok());
    }

    fn store() -> (tempfile::TempDir, Bucket) {
        let directory = tempfile::tempdir().unwrap();
        let bucket = Cache::at(directory.path()).unwrap().bucket("test", 1).unwrap();
        (directory, bucket)
    }

    #[test]
    fn an_entry_is_made_once_by_many() {
        let (_directory, bucket) = store();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = |path: &Path| {
                        made.fetch_add(1, Ordering::Relaxed);
                        fs::write(path.join("file"), "x").map_err(CacheError::io("write", path))
                    };
                    let entry = bucket.entry("key", make).unwrap();
                    assert_eq!(fs::read_to_string(entry.join("file")).unwrap(), "x");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_claim_is_for_one_at_a_time() {
        let (_directory, bucket) = store();
        let claim = bucket.claim("key").unwrap().unwrap();
        assert!(claim.path().is_dir());
        assert!(bucket.claim("key").unwrap().is_none());
        drop(claim);
        assert!(bucket.claim("key").unwrap().is_some());
    }

    #[test]
    fn a_failure_publishes_nothing_and_can_be_repeated() {
        let (_directory, bucket) = store();
        let failed = bucket.entry("key", |path| {
            fs::write(path.join("half"), "x").unwrap();
            Err(CacheError::NoPlace)
        });
        assert!(failed.is_err());
        assert!(!bucket.path.join("key").exists());
        let entry = bucket.entry::<CacheError>("key", |_| Ok(())).unwrap();
        assert!(!entry.join("half").exists());
    }
}
