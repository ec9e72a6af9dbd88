//! A commit as one file: a git pack whose bytes depend on the commit alone.
//!
//! Any git reads it. A pack that git or gix writes depends on zlib's version, on the number of
//! threads and on what else was fetched. Here every object is whole and stored as it is (deflate
//! without compression), in the order of a walk through the commit's tree: whoever keeps the pack
//! compresses it as a whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::objs::{CommitRef, Kind, TreeRefIter};

use super::verify::{self, MAX_DEPTH, MAX_ENTRIES, MAX_PACK_BYTES};
use super::{Checkout, CommitId, GitError, Store, bare};
use crate::git::store::finish;

/// Magic, and version 2.
const HEADER: &[u8; 8] = b"PACK\0\0\0\x02";
/// zlib: deflate with a window of 32 KiB, no dictionary, fastest.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
/// What a stored block holds at most.
const STORED_BLOCK: usize = 0xffff;

impl Store {
    /// The commit, if it is here.
    pub fn find(&self, commit: &CommitId) -> Result<Option<Checkout>, GitError> {
        let git_dir = self.commits.path().join(commit.as_str());
        git_dir.is_dir().then(|| self.open(git_dir, commit)).transpose()
    }

    /// Writes the commit, without its parents, as a pack: the same bytes wherever and by whatever
    /// it was fetched.
    pub fn export(&self, checkout: &Checkout, out: impl Write) -> Result<(), GitError> {
        let repository = bare::open(&checkout.git_dir)?;
        let mut list = List::new(&repository, &checkout.commit);
        let commit = bare::object_id(checkout.commit.as_str());
        list.objects.push((commit, Kind::Commit));
        list.directory(bare::object_id(checkout.tree.as_str()), 0)?;
        write_pack(&repository, &checkout.commit, &list.objects, out)
            .map_err(GitError::store("write a pack of", &checkout.git_dir))
    }

    /// Takes the commit from a pack, unless it is here already; then `pack` is not read. What gets
    /// into the store is whole and checked as after a fetch.
    pub fn import(&self, commit: &CommitId, pack: impl Read) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |directory| {
            bare::create(directory)?;
            read_pack(pack, directory).map_err(|source| GitError::Pack { commit: commit.clone(), source })?;
            if has_parents(directory, commit)? {
                let path = directory.join("shallow");
                fs::write(&path, format!("{commit}\n")).map_err(GitError::store("write", &path))?;
            }
            finish(directory, commit)
        })?;
        self.open(git_dir, commit)
    }
}

/// A commit's objects, each once, in the order of a walk.
struct List<'a> {
    repository: &'a gix::Repository,
    commit: &'a CommitId,
    seen: HashSet<gix::ObjectId>,
    objects: Vec<(gix::ObjectId, Kind)>,
}

impl<'a> List<'a> {
    fn new(repository: &'a gix::Repository, commit: &'a CommitId) -> Self {
        Self { repository, commit, seen: HashSet::new(), objects: Vec::new() }
    }

    /// A directory's files, then what is beneath its directories.
    fn directory(&mut self, id: gix::ObjectId, depth: usize) -> Result<(), GitError> {
        if depth > MAX_DEPTH || self.objects.len() as u64 > MAX_ENTRIES {
            let what = format!("the tree of commit {}", self.commit);
            return Err(GitError::Limit { what, limit: MAX_ENTRIES, unit: "entries" });
        }
        if !self.seen.insert(id) {
            return Ok(());
        }
        self.objects.push((id, Kind::Tree));
        let data = verify::object(self.repository, self.commit, id, Kind::Tree)?;
        let mut directories = Vec::new();
        for entry in TreeRefIter::from_bytes(&data, gix::hash::Kind::Sha1) {
            let malformed = || format!("directory {id} is malformed");
            let entry =
                entry.map_err(|_| GitError::BadTree { commit: self.commit.clone(), reason: malformed() })?;
            let oid = entry.oid.to_owned();
            if entry.mode.is_tree() {
                directories.push(oid);
            } else if !entry.mode.is_commit() && self.seen.insert(oid) {
                self.objects.push((oid, Kind::Blob));
            }
        }
        directories.into_iter().try_for_each(|directory| self.directory(directory, depth + 1))
    }
}

fn write_pack(
    repository: &gix::Repository,
    commit: &CommitId,
    objects: &[(gix::ObjectId, Kind)],
    out: impl Write,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut out = gix::hash::io::Write::new(out, gix::hash::Kind::Sha1);
    out.write_all(HEADER)?;
    out.write_all(&u32::try_from(objects.len())?.to_be_bytes())?;
    for (id, kind) in objects {
        let data = verify::object(repository, commit, *id, *kind)?;
        out.write_all(&object_header(*kind, data.len()))?;
        store(&data, &mut out)?;
    }
    let checksum = out.hash.try_finalize()?;
    out.inner.write_all(checksum.as_slice())?;
    out.inner.flush()?;
    Ok(())
}

/// Kind and length: four bits of the length in the first byte, seven in each further one.
fn object_header(kind: Kind, length: usize) -> Vec<u8> {
    let kind = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut bytes = vec![kind << 4 | (length & 0x0f) as u8];
    let mut rest = length >> 4;
    while rest > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

/// `data` as a zlib stream of stored blocks.
fn store(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&ZLIB_HEADER)?;
    let mut rest = data;
    loop {
        let (block, later) = rest.split_at(rest.len().min(STORED_BLOCK));
        let length = block.len() as u16;
        out.write_all(&[u8::from(later.is_empty())])?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&(!length).to_le_bytes())?;
        out.write_all(block)?;
        if later.is_empty() {
            break;
        }
        rest = later;
    }
    out.write_all(&adler32(data).to_be_bytes())
}

/// zlib's checksum (RFC 1950).
fn adler32(data: &[u8]) -> u32 {
    const PRIME: u32 = 65521;
    /// So many bytes can be added before a sum overflows.
    const RUN: usize = 5552;
    let (mut low, mut high) = (1, 0);
    for run in data.chunks(RUN) {
        for byte in run {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % PRIME, high % PRIME);
    }
    high << 16 | low
}

/// Writes the pack and its index into the repository, and refuses what comes after its end.
fn read_pack(pack: impl Read, git_dir: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut pack = BufReader::new(pack.take(MAX_PACK_BYTES));
    let interrupt = AtomicBool::new(false);
    let written = bare::index_pack(&mut pack, git_dir, Some(1), &mut gix::progress::Discard, &interrupt)?;
    let data = written.data_path.ok_or("nothing was written")?;
    match ends_with(&data, written.index.data_hash.as_slice())? {
        true => Ok(()),
        // gix would not mind; git, which clones from it, does.
        false => Err("there is more after its end".into()),
    }
}

fn ends_with(path: &Path, end: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(end.len() as i64)))?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    Ok(found == end)
}

fn has_parents(git_dir: &Path, commit: &CommitId) -> Result<bool, GitError> {
    let id = bare::object_id(commit.as_str());
    let data = verify::object(&bare::open(git_dir)?, commit, id, Kind::Commit)?;
    let parsed = CommitRef::from_bytes(&data, gix::hash::Kind::Sha1);
    Ok(parsed.is_ok_and(|commit| !commit.parents.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_zlibs() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), 0x149a302c);
    }

    #[test]
    fn lengths_are_gits() {
        assert_eq!(object_header(Kind::Blob, 5), [0x35]);
        assert_eq!(object_header(Kind::Tree, 0x1234), [0x80 | 0x24, 0x80 | 0x23, 0x02]);
    }

    #[test]
    fn stored_streams_are_whole() {
        for length in [0, 1, STORED_BLOCK, STORED_BLOCK + 1, 3 * STORED_BLOCK] {
            let mut out = Vec::new();
            store(&vec![7; length], &mut out).unwrap();
            let blocks = length.div_ceil(STORED_BLOCK).max(1);
            assert_eq!(out.len(), 2 + 5 * blocks + length + 4, "{length}");
        }
    }
}
