//! Pinned commits in the cache.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::bare;
use super::error::GitError;
use super::id::{CommitId, TreeId};
use super::limits::MAX_READ_BYTES;
use super::objects::read_commit;
use super::remote::{Remote, Transport};
use super::resolve::{backend_for, with_credential_helper};
use super::submodule::{EmptySubmodules, Submodule};
use super::verify::verify_commit;
use crate::cache::{Bucket, Cache, CacheError};
use crate::progress::Task;

/// The list of submodules, beside git's own files in the repository of a commit that has any.
const SUBMODULES_FILE: &str = "submodules.json";

/// One verified commit in the cache. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// A bare, shallow repository that contains exactly this commit, with HEAD detached at it. It
    /// must not be written to.
    pub git_dir: PathBuf,
    /// The commit.
    pub commit: CommitId,
    /// The tree of the commit.
    pub tree: TreeId,
    /// The committer's time, in seconds since 1970.
    pub time: i64,
    /// Submodules, whose directories stay empty in a clone: only those that the caller allowed.
    pub submodules: Vec<Submodule>,
}

/// An entry of a directory in a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeEntry {
    /// The name without its directory.
    pub name: String,
    /// Whether the entry is a directory.
    pub is_directory: bool,
}

/// All pinned commits, keyed by commit ID. The ID determines the bytes, so neither the URL nor the
/// credential is part of the key, and remotes share common commits.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) cache: Cache,
    pub(super) commits: Bucket,
    offline: bool,
}

impl Store {
    /// The commits of this cache.
    pub fn new(cache: &Cache) -> Result<Self, CacheError> {
        Ok(Self { cache: cache.clone(), commits: cache.bucket("git", 1)?, offline: false })
    }

    /// The same store, with network access enabled or disabled.
    pub fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// The commit if it is in the cache.
    pub fn find(&self, commit: &CommitId) -> Result<Option<Checkout>, GitError> {
        let git_dir = self.commits.path().join(commit.as_str());
        git_dir.is_dir().then(|| self.open(git_dir, commit)).transpose()
    }

    /// The commit, fetched if it is not in the cache. It is complete and verified: see [`GitError`]
    /// for what is rejected. `task` advances by bytes received.
    ///
    /// A commit with a submodule is rejected, because the directory of the submodule would be empty:
    /// see [`Store::fetch_with_empty_submodules`].
    pub fn fetch(&self, remote: &Remote, commit: &CommitId, task: &Task) -> Result<Checkout, GitError> {
        self.fetch_with_empty_submodules(remote, commit, &EmptySubmodules::Named(Vec::new()), task)
    }

    /// Like [`Store::fetch`], but the submodules `allowed` are not an error: some apps build without
    /// theirs. bench does not fetch submodules either.
    pub fn fetch_with_empty_submodules(
        &self,
        remote: &Remote,
        commit: &CommitId,
        allowed: &EmptySubmodules,
        task: &Task,
    ) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |directory| {
            if self.offline && !matches!(remote.transport(), Transport::File(_)) {
                return Err(GitError::Offline { url: remote.url().to_owned(), commit: commit.clone() });
            }
            with_credential_helper(remote, |remote| {
                bare::create(directory)?;
                backend_for(remote).fetch(remote, commit, directory, task)
            })?;
            seal(directory, commit)
        })?;
        let checkout = self.open(git_dir, commit)?;
        match checkout.submodules.iter().find(|submodule| !allowed.allows(submodule)) {
            Some(submodule) => {
                Err(GitError::Submodule { commit: commit.clone(), submodule: submodule.clone() })
            }
            None => Ok(checkout),
        }
    }

    /// The content of a file; `None` if it does not exist, or is a directory or a symbolic link.
    /// `path` is relative to the top of the tree, with `/` between its components.
    pub fn read_file(&self, checkout: &Checkout, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let Some((id, mode)) = find_entry(&repository, checkout, path)? else { return Ok(None) };
        if !mode.is_blob() {
            return Ok(None);
        }
        let failed = || GitError::repository("read an object of", &checkout.git_dir);
        let size = repository.find_header(id).map_err(failed())?.size();
        if size > MAX_READ_BYTES {
            return Err(GitError::too_large(
                format!("`{path}` of commit {}", checkout.commit),
                MAX_READ_BYTES,
            ));
        }
        Ok(Some(repository.find_object(id).map_err(failed())?.detach().data))
    }

    /// The entries of a directory, sorted by name; `None` if the directory does not exist. The empty
    /// path is the top of the tree.
    pub fn list(&self, checkout: &Checkout, path: &str) -> Result<Option<Vec<TreeEntry>>, GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let Some((id, mode)) = find_entry(&repository, checkout, path)? else { return Ok(None) };
        if !mode.is_tree() {
            return Ok(None);
        }
        let failed = || GitError::repository("read an object of", &checkout.git_dir);
        let tree = repository.find_object(id).map_err(failed())?.into_tree();
        let mut entries = Vec::new();
        for entry in tree.iter() {
            let entry = entry.map_err(failed())?;
            let name = entry.filename().to_string();
            entries.push(TreeEntry { name, is_directory: entry.mode().is_tree() });
        }
        entries.sort();
        Ok(Some(entries))
    }

    pub(super) fn open(&self, git_dir: PathBuf, commit: &CommitId) -> Result<Checkout, GitError> {
        let object = read_commit(&bare::open(&git_dir)?, commit)?;
        let submodules = read_submodules(&git_dir)?;
        Ok(Checkout { git_dir, commit: commit.clone(), tree: object.tree, time: object.time, submodules })
    }
}

/// Verifies the commit of a new repository, writes the list of its submodules, and detaches HEAD at
/// it.
pub(super) fn seal(git_dir: &Path, commit: &CommitId) -> Result<(), GitError> {
    let submodules = verify_commit(git_dir, commit)?;
    if !submodules.is_empty() {
        let path = git_dir.join(SUBMODULES_FILE);
        let text = serde_json::to_vec(&submodules).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).map_err(GitError::repository("write", &path))?;
    }
    bare::detach_head(git_dir, commit)
}

fn read_submodules(git_dir: &Path) -> Result<Vec<Submodule>, GitError> {
    let path = git_dir.join(SUBMODULES_FILE);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(GitError::repository("read", &path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(GitError::repository("read", &path)(error)),
    }
}

/// The object at `path` in the commit's tree.
pub(super) fn find_entry(
    repository: &gix::Repository,
    checkout: &Checkout,
    path: &str,
) -> Result<Option<(gix::ObjectId, gix::objs::tree::EntryMode)>, GitError> {
    let failed = || GitError::repository("read an object of", &checkout.git_dir);
    let root = bare::object_id(checkout.tree.as_str());
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(Some((root, gix::objs::tree::EntryKind::Tree.into())));
    }
    let tree = repository.find_object(root).map_err(failed())?.into_tree();
    let entry = tree.lookup_entry_by_path(Path::new(path)).map_err(failed())?;
    Ok(entry.map(|entry| (entry.object_id(), entry.mode())))
}
