//! Response bodies by digest, complete and verified.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_layers::digest::{Digest, Hashing};

use crate::cache::{Bucket, Cache, CacheError, Scratch};

/// Maximum size of a body: the largest known wheel is below 4 GiB.
pub const MAX_BODY_BYTES: u64 = 4 << 30;

/// Why a body could not be stored or read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BodyStoreError {
    /// The cache failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help(
        "check the free disk space and the owner of the directory; CARAFE_CACHE_DIR sets another directory"
    ))]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The source of a body could not be read completely.
    #[error("failed to read a body")]
    Source(#[source] io::Error),
    /// It is larger than [`MAX_BODY_BYTES`].
    #[error("failed to store a body: it is larger than 4 GiB")]
    #[diagnostic(help("the limit protects against hostile servers; if the file is legitimate, report this"))]
    TooLarge,
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BodyStoreError {
    let path = path.to_owned();
    move |source| BodyStoreError::Io { verb, path, source }
}

/// The body store of a [`Cache`]. Cheap to clone; several processes may use it at the same time.
///
/// A complete body is renamed to its digest. It is not synced to disk: each body is hashed before it
/// is first read, and one that a power failure damaged counts as missing.
#[derive(Clone, Debug)]
pub struct BodyStore {
    bucket: Bucket,
    scratch: Arc<Scratch>,
    /// The bodies that were hashed, with the state of their files at that time.
    verified: Arc<Mutex<BTreeMap<Digest, FileStamp>>>,
}

/// The identity and state of a file: equal stamps mean unchanged content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FileStamp {
    /// Device and inode.
    file: (u64, u64),
    size: u64,
    /// The ctime: seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileStamp {
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

    /// The body store of `cache`.
    pub fn of(cache: &Cache) -> Result<Self, CacheError> {
        let bucket = cache.bucket(Self::KIND, Self::VERSION)?;
        Ok(Self { bucket, scratch: Arc::new(cache.scratch()?), verified: Arc::default() })
    }

    /// Stores the bytes of `source`, at most [`MAX_BODY_BYTES`]. Idempotent and atomic.
    pub fn put(&self, mut source: impl Read) -> Result<(Digest, u64), BodyStoreError> {
        let mut spool = self.spool()?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return spool.commit(),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(BodyStoreError::Source(error)),
            };
            spool.write(&buffer[..read])?;
        }
    }

    /// Opens a verified body. It is hashed, unless this store has hashed or written it and the file is
    /// unchanged. `None` if it is missing; a damaged body is removed and counts as missing.
    pub fn open(&self, digest: &Digest) -> Result<Option<File>, BodyStoreError> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let stamp = FileStamp::of(&file).map_err(io_error("read", &path))?;
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

    /// Whether there is a file for the body. Only [`open`](Self::open) verifies it.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A new body, to be written in parts.
    pub(super) fn spool(&self) -> Result<Spool, BodyStoreError> {
        let directory = self.scratch.path();
        let file =
            tempfile::NamedTempFile::new_in(directory).map_err(io_error("create a file in", directory))?;
        Ok(Spool { hashing: Hashing::new(file), written: 0, bodies: self.clone() })
    }

    fn verified(&self) -> MutexGuard<'_, BTreeMap<Digest, FileStamp>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.bucket.path().join(digest.hex())
    }
}

/// A body that is not complete yet. If it is dropped, nothing remains.
pub(super) struct Spool {
    hashing: Hashing<tempfile::NamedTempFile>,
    written: u64,
    bodies: BodyStore,
}

impl Spool {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BodyStoreError> {
        self.written += bytes.len() as u64;
        if self.written > MAX_BODY_BYTES {
            return Err(BodyStoreError::TooLarge);
        }
        self.hashing.write_all(bytes).map_err(io_error("write to", self.bodies.scratch.path()))
    }

    /// The number of bytes so far.
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

    /// Publishes the complete body, and returns its digest and size.
    pub fn commit(self) -> Result<(Digest, u64), BodyStoreError> {
        let (file, digest, size) = self.hashing.finish();
        let path = self.bodies.path(&digest);
        let file = file.persist(&path).map_err(|error| io_error("publish", &path)(error.error))?;
        // The hash is of the written bytes. Renaming was the last change of the file.
        let stamp = FileStamp::of(&file).map_err(io_error("read", &path))?;
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
    fn returns_the_stored_bytes() {
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
    fn a_damaged_body_counts_as_missing() {
        let (directory, bodies) = bodies();
        let (digest, _) = bodies.put(&b"hello"[..]).unwrap();
        let damage = |text: &str| fs::write(bodies.path(&digest), text).unwrap();
        damage("hellO");
        let second_store = BodyStore::of(&Cache::at(directory.path()).unwrap()).unwrap();
        assert!(second_store.open(&digest).unwrap().is_none());
        assert!(!bodies.has(&digest));
        bodies.put(&b"hello"[..]).unwrap();
        damage("cut");
        assert!(bodies.open(&digest).unwrap().is_none());
    }

    #[test]
    fn an_unchanged_body_is_hashed_once() {
        let (directory, bodies) = bodies();
        let (digest, _) = bodies.put(&b"hello"[..]).unwrap();
        let second_store = BodyStore::of(&Cache::at(directory.path()).unwrap()).unwrap();
        second_store.open(&digest).unwrap().unwrap();
        let stamp = |digest: &Digest| FileStamp::of(&File::open(bodies.path(digest)).unwrap()).unwrap();
        for bodies in [&bodies, &second_store] {
            assert_eq!(bodies.verified().get(&digest), Some(&stamp(&digest)));
        }
        // If it were hashed, the wrong content would be detected.
        let other = Digest::of(b"other");
        fs::hard_link(bodies.path(&digest), bodies.path(&other)).unwrap();
        bodies.verified().insert(other, stamp(&other));
        assert!(bodies.open(&other).unwrap().is_some());
        assert!(second_store.open(&other).unwrap().is_none());
    }

    #[test]
    fn a_failed_source_leaves_no_file() {
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
