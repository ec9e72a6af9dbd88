//! The bodies of answers, by digest: whole and verified, or not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_layers::digest::{Digest, Hashing};

use crate::cache::{Bucket, Cache, CacheError, Scratch};

/// Bytes of the largest body: the largest wheel that is known has under 4 GiB.
pub const MAX_BODY_BYTES: u64 = 4 << 30;

/// Why a body could not be kept or read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BodyStoreError {
    /// The store itself failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help(
        "check that the disk has room and that the directory is yours; CARAFE_CACHE_DIR names another"
    ))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What was to be kept could not be read to its end.
    #[error("failed to read a body to its end")]
    Source(#[source] io::Error),
    /// It is larger than anything sane.
    #[error("failed to keep a body: it has more than {MAX_BODY_BYTES} bytes")]
    #[diagnostic(help("this is a guard against hostile input; if yours is real, tell us"))]
    TooLarge,
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BodyStoreError {
    let path = path.to_owned();
    move |source| BodyStoreError::Io { verb, path, source }
}

/// The store of bodies beneath a [`Cache`]; cheap to clone, shared by any number of builds at once.
///
/// A body appears under its digest by a rename once it is whole. It is not synced to disk: each is
/// hashed before it is first read, and one that a power cut damaged is as good as not there.
#[derive(Clone, Debug)]
pub struct BodyStore {
    bucket: Bucket,
    scratch: Arc<Scratch>,
    /// Those that were hashed, as they were then.
    verified: Arc<Mutex<BTreeMap<Digest, Stamp>>>,
}

/// Which file this is, and when it was last changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl BodyStore {
    const KIND: &str = "bodies";
    const VERSION: u32 = 1;

    /// Those of `cache`.
    pub fn of(cache: &Cache) -> Result<Self, CacheError> {
        let bucket = cache.bucket(Self::KIND, Self::VERSION)?;
        Ok(Self { bucket, scratch: Arc::new(cache.scratch()?), verified: Arc::default() })
    }

    /// Keeps what `source` has, up to [`MAX_BODY_BYTES`]. Idempotent and atomic.
    pub fn put(&self, mut source: impl Read) -> Result<(Digest, u64), BodyStoreError> {
        let mut spool = self.spool()?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return spool.keep(),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(BodyStoreError::Source(error)),
            };
            spool.write(&buffer[..read])?;
        }
    }

    /// Opens a body that is what its name says: it is read through for that, unless this store has
    /// done so, or written it, and it is the same file still. `None` if it is not there; one that
    /// is damaged is removed and not there either.
    pub fn open(&self, digest: &Digest) -> Result<Option<File>, BodyStoreError> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let stamp = Stamp::of(&file).map_err(io_error("read", &path))?;
        if self.verified().get(digest) == Some(&stamp) {
            return Ok(Some(file));
        }
        let mut hashing = Hashing::new(io::sink());
        io::copy(&mut file, &mut hashing).map_err(io_error("read", &path))?;
        if hashing.finish().1 != *digest {
            fs::remove_file(&path).map_err(io_error("remove the damaged body", &path))?;
            return Ok(None);
        }
        file.rewind().map_err(io_error("read", &path))?;
        self.verified().insert(*digest, stamp);
        Ok(Some(file))
    }

    /// Whether there is a file for it; [`open`](Self::open) says whether it is whole.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A new body, to be written bit by bit.
    pub(super) fn spool(&self) -> Result<Spool, BodyStoreError> {
        let directory = self.scratch.path();
        let file =
            tempfile::NamedTempFile::new_in(directory).map_err(io_error("create a file in", directory))?;
        Ok(Spool { hashing: Hashing::new(file), written: 0, bodies: self.clone() })
    }

    fn verified(&self) -> MutexGuard<'_, BTreeMap<Digest, Stamp>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.bucket.path().join(digest.hex())
    }
}

/// A body that is not whole yet. Dropped, it leaves nothing.
pub(super) struct Spool {
    hashing: Hashing<tempfile::NamedTempFile>,
    written: u64,
    bodies: BodyStore,
}

impl Spool {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BodyStoreError> {
        self.written += bytes.len() as u64;
        if self.written > MAX_BODY_BYTES {
            return Err(BodyStoreError::TooLarge);
        }
        self.hashing.write_all(bytes).map_err(io_error("write to", self.bodies.scratch.path()))
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        self.hashing.digest()
    }

    /// The bytes so far.
    pub fn file(&mut self) -> &File {
        self.hashing.get_mut().as_file()
    }

    /// It is whole.
    pub fn keep(self) -> Result<(Digest, u64), BodyStoreError> {
        let (file, digest, size) = self.hashing.finish();
        let path = self.bodies.path(&digest);
        let file = file.persist(&path).map_err(|error| io_error("publish", &path)(error.error))?;
        // What was hashed is what was written; renaming it was its last change.
        let stamp = Stamp::of(&file).map_err(io_error("read", &path))?;
        self.bodies.verified().insert(digest, stamp);
        Ok((digest, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> (tempfile::TempDir, BodyStore) {
        let directory = tempfile::tempdir().unwrap();
        let bodies = BodyStore::of(&Cache::at(directory.path()).unwrap()).unwrap();
        (directory, bodies)
    }

    #[test]
    fn what_is_kept_is_what_is_read() {
        let (_directory, bodies) = bodies();
        let (digest, size) = bodies.put(&b"hello"[..]).unwrap();
        assert_eq!((digest, size), (Digest::of(b"hello"), 5));
        assert_eq!(bodies.put(&b"hello"[..]).unwrap().0, digest);
        let mut text = String::new();
        bodies.open(&digest).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(bodies.open(&Digest::of(b"other")).unwrap().is_none());
    }

    #[test]
    fn a_damaged_body_is_not_there() {
        let (directory, bodies) = bodies();
        let (digest, _) = bodies.put(&b"hello"[..]).unwrap();
        let damage = |text: &str| fs::write(bodies.path(&digest), text).unwrap();
        damage("hellO");
        let of_another_run = BodyStore::of(&Cache::at(directory.path()).unwrap()).unwrap();
        assert!(of_another_run.open(&digest).unwrap().is_none());
        assert!(!bodies.has(&digest));
        bodies.put(&b"hello"[..]).unwrap();
        damage("cut");
        assert!(bodies.open(&digest).unwrap().is_none());
    }

    #[test]
    fn what_was_verified_is_not_hashed_again() {
        let (directory, bodies) = bodies();
        let (digest, _) = bodies.put(&b"hello"[..]).unwrap();
        let of_another_run = BodyStore::of(&Cache::at(directory.path()).unwrap()).unwrap();
        of_another_run.open(&digest).unwrap().unwrap();
        let stamp = |digest: &Digest| Stamp::of(&File::open(bodies.path(digest)).unwrap()).unwrap();
        for bodies in [&bodies, &of_another_run] {
            assert_eq!(bodies.verified().get(&digest), Some(&stamp(&digest)));
        }
        // Were it hashed, it would be found out.
        let other = Digest::of(b"other");
        fs::hard_link(bodies.path(&digest), bodies.path(&other)).unwrap();
        bodies.verified().insert(other, stamp(&other));
        assert!(bodies.open(&other).unwrap().is_some());
        assert!(of_another_run.open(&other).unwrap().is_none());
    }

    #[test]
    fn a_source_that_breaks_leaves_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let (_directory, bodies) = bodies();
        assert!(matches!(bodies.put((&b"half"[..]).chain(Broken)), Err(BodyStoreError::Source(_))));
        assert_eq!(fs::read_dir(bodies.bucket.path()).unwrap().count(), 0);
    }
}
