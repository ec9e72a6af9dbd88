//! Pinned commits in the cache.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::backend::{backend_for, with_helper};
use super::verify::{self, Submodule};
use super::{CommitId, GitError, Remote, Transport, TreeId, bare};
use crate::cache::{Bucket, Cache, CacheError};
use crate::progress::Task;

/// Beside git's own files, in a repository whose commit has submodules.
const SUBMODULES: &str = "submodules.json";
/// How large a file may be that is read without a checkout.
const MAX_READ_BYTES: u64 = 16 << 20;

/// One commit in the store: whole, checked, and never changed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// A bare and shallow repository with exactly this commit, HEAD on it. Read-only by contract.
    pub git_dir: PathBuf,
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// Its committer's time, in seconds since 1970.
    pub time: i64,
    /// Directories that stay empty in a clone: those that the caller allowed to.
    pub submodules: Vec<Submodule>,
}

/// An entry of a directory in a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Without the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_directory: bool,
}

/// The submodules whose directories may stay empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmptySubmodules {
    /// Those at these paths.
    Named(Vec<String>),
    /// All of them: someone else answered for the commit.
    All,
}

impl EmptySubmodules {
    /// The paths that are named one by one.
    pub fn named(&self) -> &[String] {
        match self {
            Self::Named(paths) => paths,
            Self::All => &[],
        }
    }

    fn allow(&self, submodule: &Submodule) -> bool {
        *self == Self::All || self.named().contains(&submodule.path)
    }
}

/// All pinned commits, each under its own name: whoever offers a commit offers the same bytes, so
/// neither the address nor a credential is part of the key, and remotes share what they have in
/// common.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) cache: Cache,
    pub(super) commits: Bucket,
    offline: bool,
}

impl Store {
    /// Of this cache.
    pub fn new(cache: &Cache) -> Result<Self, CacheError> {
        Ok(Self { cache: cache.clone(), commits: cache.bucket("git", 1)?, offline: false })
    }

    /// The same, or one that asks no server.
    pub fn offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// The commit, fetched if it is not here yet. What is published is whole: see [`GitError`] for
    /// what is refused. `task` moves by bytes read.
    ///
    /// A submodule is refused, since its directory would be empty: see [`Store::fetch_without`].
    pub fn fetch(&self, remote: &Remote, commit: &CommitId, task: &Task) -> Result<Checkout, GitError> {
        self.fetch_without(remote, commit, &EmptySubmodules::Named(Vec::new()), task)
    }

    /// The same, except that the submodules that `may_be_empty` are no error: some
    /// apps build without theirs, as they do with bench alone, which fetches none.
    pub fn fetch_without(
        &self,
        remote: &Remote,
        commit: &CommitId,
        may_be_empty: &EmptySubmodules,
        task: &Task,
    ) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |directory| {
            if self.offline && !matches!(remote.transport(), Transport::File(_)) {
                return Err(GitError::Offline { url: remote.url().to_owned(), commit: commit.clone() });
            }
            with_helper(remote, |remote| {
                bare::create(directory)?;
                backend_for(remote).fetch(remote, commit, directory, task)
            })?;
            finish(directory, commit)
        })?;
        let checkout = self.open(git_dir, commit)?;
        match checkout.submodules.iter().find(|submodule| !may_be_empty.allow(submodule)) {
            Some(submodule) => {
                Err(GitError::Submodule { commit: commit.clone(), submodule: submodule.clone() })
            }
            None => Ok(checkout),
        }
    }

    /// A file's content; `None` when there is no such file, or it is a directory or a link. `path` is
    /// relative, with `/` between its parts.
    pub fn read_file(&self, checkout: &Checkout, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let Some((id, mode)) = find(&repository, checkout, path)? else { return Ok(None) };
        if !mode.is_blob() {
            return Ok(None);
        }
        let failed = || GitError::store("read an object of", &checkout.git_dir);
        let size = repository.find_header(id).map_err(failed())?.size();
        if size > MAX_READ_BYTES {
            let what = format!("`{path}` of commit {}", checkout.commit);
            return Err(GitError::Limit { what, limit: MAX_READ_BYTES, unit: "bytes" });
        }
        Ok(Some(repository.find_object(id).map_err(failed())?.detach().data))
    }

    /// What a directory holds, in order of names; `None` when there is no such directory. The empty path
    /// is the top.
    pub fn list(&self, checkout: &Checkout, path: &str) -> Result<Option<Vec<Entry>>, GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let Some((id, mode)) = find(&repository, checkout, path)? else { return Ok(None) };
        if !mode.is_tree() {
            return Ok(None);
        }
        let failed = || GitError::store("read an object of", &checkout.git_dir);
        let tree = repository.find_object(id).map_err(failed())?.into_tree();
        let mut entries = Vec::new();
        for entry in tree.iter() {
            let entry = entry.map_err(failed())?;
            entries.push(Entry { name: entry.filename().to_string(), is_directory: entry.mode().is_tree() });
        }
        entries.sort();
        Ok(Some(entries))
    }

    pub(super) fn open(&self, git_dir: PathBuf, commit: &CommitId) -> Result<Checkout, GitError> {
        let facts = verify::facts(&bare::open(&git_dir)?, commit)?;
        let submodules = read_submodules(&git_dir)?;
        Ok(Checkout { git_dir, commit: commit.clone(), tree: facts.tree, time: facts.time, submodules })
    }
}

/// Checks a repository that was just filled, and notes what was found.
pub(super) fn finish(git_dir: &Path, commit: &CommitId) -> Result<(), GitError> {
    let submodules = verify::whole(git_dir, commit)?;
    if !submodules.is_empty() {
        let path = git_dir.join(SUBMODULES);
        let text = serde_json::to_vec(&submodules).map_err(GitError::store("write", &path))?;
        fs::write(&path, text).map_err(GitError::store("write", &path))?;
    }
    bare::detach_head(git_dir, commit)
}

fn read_submodules(git_dir: &Path) -> Result<Vec<Submodule>, GitError> {
    let path = git_dir.join(SUBMODULES);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(GitError::store("read", &path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(GitError::store("read", &path)(error)),
    }
}

/// What is at `path` in the commit's tree.
pub(super) fn find(
    repository: &gix::Repository,
    checkout: &Checkout,
    path: &str,
) -> Result<Option<(gix::ObjectId, gix::objs::tree::EntryMode)>, GitError> {
    let failed = || GitError::store("read an object of", &checkout.git_dir);
    let root = bare::object_id(checkout.tree.as_str());
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(Some((root, gix::objs::tree::EntryKind::Tree.into())));
    }
    let tree = repository.find_object(root).map_err(failed())?.into_tree();
    let entry = tree.lookup_entry_by_path(Path::new(path)).map_err(failed())?;
    Ok(entry.map(|entry| (entry.object_id(), entry.mode())))
}
