//! Which uploads are open, on disk: after a kill the same command goes on inside a blob.
//!
//! A hint and no more: what cannot be read, locked or written is as if it were not there, and the
//! blob is sent from its beginning. An entry has the session's URL, without credentials; whoever
//! would use it has to log in to the registry first. It is readable by its owner alone, and gone
//! when the blob is complete.

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

/// Registries drop a session after a day to a week.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// An entry has a URL; what is longer is not ours.
const MAX_ENTRY_BYTES: u64 = 64 << 10;

/// The open uploads of all runs of this user.
pub(in crate::registry) struct Journal(PathBuf);

/// One blob's entry, locked against other runs while it is held.
pub(super) struct Entry {
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Record {
    location: String,
    min_chunk: u64,
}

impl Journal {
    /// Removes what is too old.
    pub(in crate::registry) fn new(bucket: &Bucket) -> Self {
        for entry in fs::read_dir(bucket.path()).into_iter().flatten().flatten() {
            if is_old(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Self(bucket.path().to_owned())
    }

    /// The entry of a blob on its way to a repository; none if another run has it.
    pub(super) fn entry(&self, repository: &Repository, digest: Digest) -> Option<Entry> {
        // Names of repositories have slashes, and registries colons.
        let key = Digest::of(format!("{repository}\n{digest}").as_bytes()).hex();
        let lock = private(&self.0.join(format!("{key}.lock"))).ok()?;
        lock.try_lock().ok()?;
        // Its time is that of its last use: it is not swept from under a long upload's end.
        let _ = lock.set_modified(std::time::SystemTime::now());
        Some(Entry { path: self.0.join(format!("{key}.json")), _lock: lock })
    }
}

impl Entry {
    /// The session that an earlier run left.
    pub(super) fn read(&self) -> Option<Session> {
        let size = fs::metadata(&self.path).ok()?.len();
        if size > MAX_ENTRY_BYTES || is_old(&self.path) {
            return None;
        }
        let record: Record = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        Some(Session::resumed(Secret::new(record.location), record.min_chunk))
    }

    /// Notes where the session is now: whole, or not at all.
    pub(super) fn write(&self, session: &Session) {
        let location = session.location().expose().to_owned();
        let record = Record { location, min_chunk: session.min_chunk };
        let new = self.path.with_extension("new");
        let written = serde_json::to_vec(&record).map_err(Into::into).and_then(|bytes| {
            let mut file = private(&new)?;
            file.set_len(0)?;
            file.write_all(&bytes)?;
            fs::rename(&new, &self.path)
        });
        if written.is_err() {
            self.remove();
        }
    }

    /// The blob is complete, or its session of no use.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LIFETIME))
}

fn private(path: &Path) -> std::io::Result<File> {
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
    fn what_was_noted_is_found_by_the_next_run_and_by_nobody_else() {
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
    fn an_old_or_a_damaged_entry_is_none() {
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
