//! Verification of a commit: it is complete, and a checkout of it has exactly its files.

use std::collections::HashSet;
use std::path::Path;

use gix::objs::tree::EntryKind;
use gix::objs::{Kind, TreeRefIter};

use super::bare;
use super::error::GitError;
use super::id::CommitId;
use super::limits::{MAX_CHECKOUT_BYTES, MAX_SUBMODULES, MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use super::objects::{object_error, read_commit, read_object};
use super::submodule::{Submodule, url_in_gitmodules};

/// Bytes of the longest LFS pointer.
const MAX_POINTER_BYTES: usize = 1024;
/// The first line of an LFS pointer (git-lfs, docs/spec.md).
const POINTER_START: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// Reads every object of the commit. Checks that each is present and matches its ID, that no path
/// leaves the checkout or has a special meaning for git, and that no file is an LFS pointer.
/// Returns the submodules, whose directories stay empty in a clone.
pub(super) fn verify_commit(git_dir: &Path, commit: &CommitId) -> Result<Vec<Submodule>, GitError> {
    let repository = bare::open(git_dir)?;
    let tree = bare::object_id(read_commit(&repository, commit)?.tree.as_str());
    let mut walk = Walk {
        repository: &repository,
        commit,
        tree,
        seen: HashSet::new(),
        entries: 0,
        bytes: 0,
        submodules: Vec::new(),
        lfs_pointer: None,
        uses_lfs: false,
    };
    walk.directory(tree, "", 0)?;
    match walk.lfs_pointer {
        Some(path) if walk.uses_lfs => Err(GitError::LfsPointer { commit: commit.clone(), path }),
        _ => Ok(walk.submodules),
    }
}

struct Walk<'a> {
    repository: &'a gix::Repository,
    commit: &'a CommitId,
    /// The tree of the commit.
    tree: gix::ObjectId,
    /// Blobs whose content was checked.
    seen: HashSet<gix::ObjectId>,
    entries: u64,
    bytes: u64,
    submodules: Vec<Submodule>,
    /// The first file that looks like an LFS pointer. It is a plain file, such as a test fixture,
    /// unless an attribute of the repository enables LFS.
    lfs_pointer: Option<String>,
    uses_lfs: bool,
}

impl Walk<'_> {
    fn directory(&mut self, id: gix::ObjectId, path: &str, depth: u64) -> Result<(), GitError> {
        if depth > MAX_TREE_DEPTH {
            return Err(GitError::too_many(self.tree_name(), MAX_TREE_DEPTH, "nested directories"));
        }
        let data = read_object(self.repository, self.commit, id, Kind::Tree)?;
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|_| self.invalid(format!("directory `{path}` is malformed")))?;
            let name =
                std::str::from_utf8(entry.filename).ok().filter(|name| is_plain(name)).ok_or_else(|| {
                    let name = String::from_utf8_lossy(entry.filename).escape_debug().to_string();
                    self.invalid(format!("directory `{path}` has an entry with the name `{name}`"))
                })?;
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.entries += 1;
            if self.entries > MAX_TREE_ENTRIES {
                return Err(GitError::too_many(self.tree_name(), MAX_TREE_ENTRIES, "entries"));
            }
            match entry.mode.kind() {
                EntryKind::Tree => self.directory(entry.oid.to_owned(), &path, depth + 1)?,
                EntryKind::Commit => self.submodule(path)?,
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => {
                    self.file(entry.oid.to_owned(), &path)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, id: gix::ObjectId, path: &str) -> Result<(), GitError> {
        let header = self.repository.find_header(id);
        let header = header.map_err(|error| object_error(self.commit, id, error))?;
        self.bytes += header.size();
        if self.bytes > MAX_CHECKOUT_BYTES {
            return Err(GitError::too_large(self.tree_name(), MAX_CHECKOUT_BYTES));
        }
        let is_attributes = path.rsplit('/').next() == Some(".gitattributes");
        if !self.seen.insert(id) && !is_attributes {
            return Ok(());
        }
        let data = read_object(self.repository, self.commit, id, Kind::Blob)?;
        if data.len() <= MAX_POINTER_BYTES && data.starts_with(POINTER_START) {
            self.lfs_pointer.get_or_insert_with(|| path.to_owned());
        }
        self.uses_lfs |= is_attributes && memchr::memmem::find(&data, b"filter=lfs").is_some();
        Ok(())
    }

    fn submodule(&mut self, path: String) -> Result<(), GitError> {
        if self.submodules.len() as u64 == MAX_SUBMODULES {
            return Err(GitError::too_many(self.tree_name(), MAX_SUBMODULES, "submodules"));
        }
        let url = self.gitmodules().and_then(|text| url_in_gitmodules(&text, &path));
        self.submodules.push(Submodule { path, url });
        Ok(())
    }

    /// The text of `.gitmodules`, which is for messages only: a failure to read it is not an error.
    fn gitmodules(&self) -> Option<String> {
        let tree = self.repository.find_object(self.tree).ok()?.try_into_tree().ok()?;
        let file = tree.lookup_entry_by_path(".gitmodules").ok()??.object().ok()?;
        Some(String::from_utf8_lossy(&file.data).into_owned())
    }

    fn invalid(&self, reason: String) -> GitError {
        GitError::InvalidCommit { commit: self.commit.clone(), reason }
    }

    fn tree_name(&self) -> String {
        format!("the tree of commit {}", self.commit)
    }
}

/// Whether the name stays in its directory and has no special meaning for git.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.eq_ignore_ascii_case(".git")
        && !name.contains(['/', '\0', '\n'])
}
