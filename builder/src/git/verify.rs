//! Is a commit whole, and can it be checked out as what it is?

use std::collections::HashSet;
use std::path::Path;

use gix::objs::tree::EntryKind;
use gix::objs::{Kind, TreeRefIter};
use serde::{Deserialize, Serialize};

use super::{CommitId, GitError, TreeId, bare};

/// How many entries a commit's tree may have, counted as a checkout would make them.
pub(super) const MAX_ENTRIES: u64 = 1_000_000;
/// How many bytes a checkout may take.
const MAX_CHECKOUT_BYTES: u64 = 8 << 30;
/// How many bytes a server may send for one commit, or for the history of a branch.
pub(super) const MAX_PACK_BYTES: u64 = 16 << 30;
/// How large a single object may be.
pub(super) const MAX_OBJECT_BYTES: u64 = 1 << 30;
/// How many submodules are listed.
const MAX_SUBMODULES: u64 = 1000;
/// How deep directories may lie in each other.
pub(super) const MAX_DEPTH: usize = 200;
/// No LFS pointer is longer.
const MAX_POINTER_BYTES: usize = 1024;
const POINTER_START: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// Committer times outside of these (1970 to 9999) fit into no archive.
const TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// What a commit says about itself.
pub(super) struct Facts {
    pub tree: TreeId,
    pub time: i64,
}

/// Reads the commit alone.
pub(super) fn facts(repository: &gix::Repository, commit: &CommitId) -> Result<Facts, GitError> {
    let data = object(repository, commit, bare::object_id(commit.as_str()), Kind::Commit)?;
    let bad = |reason: &str| GitError::BadTree { commit: commit.clone(), reason: reason.to_owned() };
    let parsed =
        gix::objs::CommitRef::from_bytes(&data, gix::hash::Kind::Sha1).map_err(|_| bad("it is malformed"))?;
    let tree = parsed.tree().to_string().parse().map_err(|_| bad("its tree has no valid name"))?;
    let time = parsed.committer().map_err(|_| bad("its committer is malformed"))?.seconds();
    if !TIMES.contains(&time) {
        return Err(bad("its time is before 1970 or after 9999"));
    }
    Ok(Facts { tree, time })
}

/// Reads every object of the commit, and checks that it is there, that its content has its name,
/// that no path escapes or hides, and that no file is elsewhere, with Git LFS. Returns the
/// submodules, whose directories a plain clone leaves empty.
pub(super) fn whole(git_dir: &Path, commit: &CommitId) -> Result<Vec<Submodule>, GitError> {
    let repository = bare::open(git_dir)?;
    let facts = facts(&repository, commit)?;
    let mut walk = Walk {
        repository: &repository,
        commit,
        seen: HashSet::new(),
        entries: 0,
        bytes: 0,
        submodules: Vec::new(),
        pointer: None,
        uses_lfs: false,
    };
    walk.directory(bare::object_id(facts.tree.as_str()), "", 0)?;
    match walk.pointer {
        Some(path) if walk.uses_lfs => Err(GitError::Lfs { commit: commit.clone(), path }),
        _ => Ok(walk.submodules),
    }
}

/// A directory whose content is a commit of another repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Submodule {
    /// The directory.
    pub path: String,
    /// Where the other repository is, without credentials, if `.gitmodules` says it.
    pub url: Option<String>,
}

struct Walk<'a> {
    repository: &'a gix::Repository,
    commit: &'a CommitId,
    /// Files whose content was read, with their sizes.
    seen: HashSet<gix::ObjectId>,
    entries: u64,
    bytes: u64,
    submodules: Vec<Submodule>,
    /// The first file that looks like an LFS pointer. Without an attribute that says so it is a
    /// plain file, as in the tests of a tool.
    pointer: Option<String>,
    uses_lfs: bool,
}

impl Walk<'_> {
    fn directory(&mut self, id: gix::ObjectId, path: &str, depth: usize) -> Result<(), GitError> {
        if depth > MAX_DEPTH {
            return Err(self.limit("directories in each other", MAX_DEPTH as u64));
        }
        let data = object(self.repository, self.commit, id, Kind::Tree)?;
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|_| self.bad(format!("directory `{path}` is malformed")))?;
            let name =
                std::str::from_utf8(entry.filename).ok().filter(|name| is_plain(name)).ok_or_else(|| {
                    self.bad(format!("`{path}` has an entry with the name `{}`", entry.filename))
                })?;
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(self.limit("entries", MAX_ENTRIES));
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
        let header = header.map_err(|error| missing(self.commit, id, error))?;
        self.bytes += header.size();
        if self.bytes > MAX_CHECKOUT_BYTES {
            return Err(self.limit("bytes", MAX_CHECKOUT_BYTES));
        }
        let attributes = path.rsplit('/').next() == Some(".gitattributes");
        if !self.seen.insert(id) && !attributes {
            return Ok(());
        }
        let data = object(self.repository, self.commit, id, Kind::Blob)?;
        if data.len() <= MAX_POINTER_BYTES && data.starts_with(POINTER_START) {
            self.pointer.get_or_insert_with(|| path.to_owned());
        }
        self.uses_lfs |= attributes && memchr::memmem::find(&data, b"filter=lfs").is_some();
        Ok(())
    }

    fn submodule(&mut self, path: String) -> Result<(), GitError> {
        if self.submodules.len() as u64 == MAX_SUBMODULES {
            return Err(self.limit("submodules", MAX_SUBMODULES));
        }
        let url = submodule_url(self.repository, self.commit, &path);
        self.submodules.push(Submodule { path, url });
        Ok(())
    }

    fn bad(&self, reason: String) -> GitError {
        GitError::BadTree { commit: self.commit.clone(), reason }
    }

    fn limit(&self, unit: &'static str, limit: u64) -> GitError {
        GitError::Limit { what: format!("the tree of commit {}", self.commit), limit, unit }
    }
}

/// No name that leaves its directory, and none that git itself takes for its own.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !matches!(name, "." | "..")
        && !name.eq_ignore_ascii_case(".git")
        && !name.contains(['/', '\0', '\n'])
}

/// What `.gitmodules` says about the submodule at `path`, without credentials.
fn submodule_url(repository: &gix::Repository, commit: &CommitId, path: &str) -> Option<String> {
    let tree = bare::object_id(facts(repository, commit).ok()?.tree.as_str());
    let tree = repository.find_object(tree).ok()?.try_into_tree().ok()?;
    let file = tree.lookup_entry_by_path(".gitmodules").ok()??.object().ok()?;
    let text = String::from_utf8_lossy(&file.data).into_owned();
    let value = |line: &str, key: &str| {
        let (found, value) = line.split_once('=')?;
        (found.trim() == key).then(|| value.trim().to_owned())
    };
    let sections = text.split('[');
    let section = sections
        .into_iter()
        .find(|section| section.lines().any(|line| value(line, "path").as_deref() == Some(path)))?;
    let url = section.lines().find_map(|line| value(line, "url"))?;
    Some(super::Remote::parse(&url).map_or_else(|_| "an unusual address".to_owned(), |url| url.to_string()))
}

/// The object's content, of the kind expected, no larger than allowed, checked against its name.
pub(super) fn object(
    repository: &gix::Repository,
    commit: &CommitId,
    id: gix::ObjectId,
    kind: Kind,
) -> Result<Vec<u8>, GitError> {
    let header = repository.find_header(id).map_err(|error| missing(commit, id, error))?;
    if header.size() > MAX_OBJECT_BYTES {
        let what = format!("object {id} of commit {commit}");
        return Err(GitError::Limit { what, limit: MAX_OBJECT_BYTES, unit: "bytes" });
    }
    let found = repository.find_object(id).map_err(|error| missing(commit, id, error))?;
    if found.kind != kind {
        return Err(missing(commit, id, format!("expected a {kind}, found a {}", found.kind)));
    }
    let actual = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &found.data)
        .map_err(|error| missing(commit, id, error.to_string()))?;
    if actual != id {
        return Err(missing(commit, id, format!("its content has the name {actual}")));
    }
    Ok(found.detach().data)
}

fn missing(
    commit: &CommitId,
    id: gix::ObjectId,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> GitError {
    GitError::Object { commit: commit.clone(), id: id.to_string(), source: source.into() }
}
