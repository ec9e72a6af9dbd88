//! A commit as one file: a git pack whose bytes depend on the commit only.
//!
//! Any git can read it. The bytes of a pack that git or gix writes depend on the version of zlib,
//! on the number of threads, and on what else was fetched. Here the objects are neither deltas nor
//! compressed, in the order of a walk through the commit's tree. The storage of the pack compresses
//! it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::objs::{Kind, TreeRefIter};

use super::bare;
use super::error::GitError;
use super::id::CommitId;
use super::limits::{MAX_PACK_BYTES, MAX_TREE_DEPTH, MAX_TREE_ENTRIES};
use super::objects::{read_commit, read_object};
use super::pack_format::{SIGNATURE, write_object};
use super::store::{Checkout, Store, seal};

impl Store {
    /// Writes the commit without its parents as a pack. The bytes do not depend on how the commit
    /// was fetched.
    pub fn export(&self, checkout: &Checkout, out: impl Write) -> Result<(), GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let mut list = ObjectList::new(&repository, &checkout.commit);
        let commit = bare::object_id(checkout.commit.as_str());
        list.objects.push((commit, Kind::Commit));
        list.add_tree(bare::object_id(checkout.tree.as_str()), 0)?;
        write_pack(&repository, &checkout.commit, &list.objects, out)
            .map_err(GitError::repository("write a pack of", &checkout.git_dir))
    }

    /// Adds the commit from a pack to the store, verified as after a fetch. `pack` is not read if
    /// the commit is in the store already.
    pub fn import(&self, commit: &CommitId, pack: impl Read) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |directory| {
            bare::create(directory)?;
            read_pack(pack, directory).map_err(|source| GitError::Pack { commit: commit.clone(), source })?;
            if read_commit(&bare::open(directory)?, commit)?.has_parents {
                let path = directory.join("shallow");
                fs::write(&path, format!("{commit}\n")).map_err(GitError::repository("write", &path))?;
            }
            seal(directory, commit)
        })?;
        self.open(git_dir, commit)
    }
}

/// The objects of a commit, each once, in the order of a walk through its tree.
struct ObjectList<'a> {
    repository: &'a gix::Repository,
    commit: &'a CommitId,
    seen: HashSet<gix::ObjectId>,
    objects: Vec<(gix::ObjectId, Kind)>,
}

impl<'a> ObjectList<'a> {
    fn new(repository: &'a gix::Repository, commit: &'a CommitId) -> Self {
        Self { repository, commit, seen: HashSet::new(), objects: Vec::new() }
    }

    /// Adds a tree and its blobs, then its subdirectories.
    fn add_tree(&mut self, id: gix::ObjectId, depth: u64) -> Result<(), GitError> {
        let tree_name = || format!("the tree of commit {}", self.commit);
        if depth > MAX_TREE_DEPTH {
            return Err(GitError::too_many(tree_name(), MAX_TREE_DEPTH, "nested directories"));
        }
        if self.objects.len() as u64 > MAX_TREE_ENTRIES {
            return Err(GitError::too_many(tree_name(), MAX_TREE_ENTRIES, "entries"));
        }
        if !self.seen.insert(id) {
            return Ok(());
        }
        self.objects.push((id, Kind::Tree));
        let data = read_object(self.repository, self.commit, id, Kind::Tree)?;
        let mut directories = Vec::new();
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let malformed = || format!("tree {id} is malformed");
            let entry = entry
                .map_err(|_| GitError::InvalidCommit { commit: self.commit.clone(), reason: malformed() })?;
            let oid = entry.oid.to_owned();
            if entry.mode.is_tree() {
                directories.push(oid);
            } else if !entry.mode.is_commit() && self.seen.insert(oid) {
                self.objects.push((oid, Kind::Blob));
            }
        }
        directories.into_iter().try_for_each(|directory| self.add_tree(directory, depth + 1))
    }
}

fn write_pack(
    repository: &gix::Repository,
    commit: &CommitId,
    objects: &[(gix::ObjectId, Kind)],
    out: impl Write,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut out = gix::hash::io::Write::new(out, gix::hash::Kind::Sha1);
    out.write_all(SIGNATURE)?;
    out.write_all(&u32::try_from(objects.len())?.to_be_bytes())?;
    for (id, kind) in objects {
        write_object(*kind, &read_object(repository, commit, *id, *kind)?, &mut out)?;
    }
    let checksum = out.hash.try_finalize()?;
    out.inner.write_all(checksum.as_slice())?;
    out.inner.flush()?;
    Ok(())
}

/// Writes the pack and its index into the repository. Data after the end of the pack is an error:
/// gix ignores it, but git fails to clone from such a repository.
fn read_pack(pack: impl Read, git_dir: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut pack = BufReader::new(pack.take(MAX_PACK_BYTES));
    let interrupt = AtomicBool::new(false);
    let written = bare::index_pack(&mut pack, git_dir, Some(1), &mut gix::progress::Discard, &interrupt)?;
    let data = written.data_path.ok_or("the pack is empty")?;
    match ends_with(&data, written.index.data_hash.as_slice())? {
        true => Ok(()),
        false => Err("there is data after the end of the pack".into()),
    }
}

fn ends_with(path: &Path, end: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(end.len() as i64)))?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    Ok(found == end)
}
