//! Stores open uploads on disk, so that the same command resumes inside a blob after it was killed.
//!
//! The journal is optional: an entry that cannot be read, locked or written is treated as missing, and
//! the blob is sent from its beginning. An entry contains the session's URL without credentials, which
//! is useless without a login to the registry. Only its owner can read the file. It is removed when
//! the blob is complete.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carafe_builder::cache::Bucket;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;
use serde::{Deserialize, Serialize};

use super::session::Session;
use crate::registry::reference::Repository;

/// Maximum age of an entry. Registries drop a session after a day to a week.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum size of an entry, which is a URL and a number.
const MAX_ENTRY_BYTES: u64 = 64 << 10;

/// The open uploads of all runs of this user.
pub(crate) struct Journal(PathBuf);

/// The entry of one blob. It is locked against other runs until it is dropped.
pub(super) struct Entry {
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Content {
    location: String,
    min_chunk: u64,
}

impl Journal {
    /// Removes expired entries.
    pub(crate) fn new(bucket: &Bucket) -> Self {
        for entry in fs::read_dir(bucket.path()).into_iter().flatten().flatten() {
            if is_expired(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self(bucket.path().to_owned())
    }

    /// The entry of the upload of a blob to a repository; `None` if another run has locked it.
    pub(super) fn entry(&self, repository: &Repository, digest: Digest) -> Option<Entry> {
        // The names of repositories contain slashes, and those of registries colons.
        let key = Digest::of(format!("{repository}\n{digest}").as_bytes()).hex();
        let lock = open_private(&self.0.join(format!("{key}.lock"))).ok()?;
        lock.try_lock().ok()?;
        // Its modification time is that of its last use, so that it does not expire during a long upload.
        let _ = lock.set_modified(std::time::SystemTime::now());
        Some(Entry { path: self.0.join(format!("{key}.json")), _lock: lock })
    }
}

impl Entry {
    /// The session of an earlier run.
    pub(super) fn read(&self) -> Option<Session> {
        let size = fs::metadata(&self.path).ok()?.len();
        if size > MAX_ENTRY_BYTES || is_expired(&self.path) {
            return None;
        }
        let content: Content = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        Some(Session::resumed(Secret::new(content.location), content.min_chunk))
    }

    /// Stores the current state of the session, atomically.
    pub(super) fn write(&self, session: &Session) {
        let location = session.location().expose().to_owned();
        let content = Content { location, min_chunk: session.min_chunk };
        let new = self.path.with_extension("new");
        let written = serde_json::to_vec(&content).map_err(Into::into).and_then(|bytes| {
            let mut file = open_private(&new)?;
            file.set_len(0)?;
            file.write_all(&bytes)?;
            fs::rename(&new, &self.path)
        });
        if written.is_err() {
            self.remove();
        }
    }

    /// Removes the entry: the blob is complete, or the session is useless.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_expired(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LIFETIME))
}

/// Creates or opens a file that only its owner can read.
fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_builder::cache::Cache;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    fn journal() -> (tempfile::TempDir, Journal, Repository) {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::new(&Cache::at(directory.path()).unwrap().bucket("uploads", 1).unwrap());
        let reference: crate::registry::Reference = "localhost:5000/a/b:1".parse().unwrap();
        (directory, journal, reference.repository().clone())
    }

    fn session() -> Session {
        Session::resumed(Secret::new("http://localhost:5000/u/1"), 7)
    }

    #[test]
    fn only_the_next_run_finds_a_stored_session() {
        let (_directory, journal, repository) = journal();
        let entry = journal.entry(&repository, Digest::of(b"a")).unwrap();
        assert!(entry.read().is_none());
        entry.write(&session());
        assert!(journal.entry(&repository, Digest::of(b"a")).is_none(), "it is locked");
        assert_eq!(fs::metadata(&entry.path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(entry);
        let entry = journal.entry(&repository, Digest::of(b"a")).unwrap();
        let found = entry.read().unwrap();
        assert_eq!((found.location(), found.min_chunk), (session().location(), 7));
        assert!(journal.entry(&repository, Digest::of(b"b")).unwrap().read().is_none());
        entry.remove();
        assert!(entry.read().is_none());
    }

    #[test]
    fn ignores_expired_and_damaged_entries() {
        let (_directory, journal, repository) = journal();
        let entry = journal.entry(&repository, Digest::of(b"a")).unwrap();
        fs::write(&entry.path, "{").unwrap();
        assert!(entry.read().is_none());
        entry.write(&session());
        assert!(entry.read().is_some());
        let file = OpenOptions::new().write(true).open(&entry.path).unwrap();
        file.set_modified(SystemTime::now() - 2 * LIFETIME).unwrap();
        assert!(entry.read().is_none());
    }
}
