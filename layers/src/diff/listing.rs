//! What a layer holds, entry by entry, without the contents.

use std::io::{self, Write};

use super::pyc::{Pyc, PycReader, is_pyc};
use crate::digest::{Digest, Hashing};
use crate::unpack::{Fault, TarStream, UnpackError, UnpackLimits, normalise, within};
use crate::untar::{Kind, Member, TarReader};

/// A file with more bytes than this is not noted: see [`Notes`].
pub const MAX_NOTE_BYTES: u64 = 256 << 10;

/// What is kept of some files' contents.
#[derive(Clone, Copy)]
pub struct Notes {
    /// Whether something is wanted of the file at this path.
    pub wanted: fn(path: &[u8]) -> bool,
    /// What is kept, of the whole content.
    pub note: fn(path: &[u8], content: &[u8]) -> Option<Box<str>>,
}

impl Notes {
    /// Keeps nothing.
    pub const NONE: Self = Self { wanted: |_| false, note: |_, _| None };
}

/// One entry of a layer. All of it is compared; what a header has besides (the names of owners)
/// decides nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// From the root, in normal form; empty for the root itself.
    pub path: Box<[u8]>,
    /// Where a symbolic link points, as written; for a hard link a path like [`Self::path`]; for
    /// a device which one it is, as [`Member::link`] has it.
    pub link: Box<[u8]>,
    /// What it is.
    pub kind: Kind,
    /// The mode's low twelve bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// User and group.
    pub owner: (u64, u64),
    /// Length of the content in bytes.
    pub size: u64,
    /// The content's digest; that of nothing for all but files.
    pub content: Digest,
    /// Extended attributes and other PAX records: keys, and the digests of the values.
    pub records: Box<[(Box<[u8]>, Digest)]>,
    /// What [`Notes`] kept.
    pub note: Option<Box<str>>,
    /// Of a file of compiled Python, unless it was noted.
    pub pyc: Option<Box<Pyc>>,
}

/// Counts over all layers, for the limits.
#[derive(Default)]
pub(super) struct Tally {
    entries: u64,
    path_bytes: u64,
}

/// The entries of a layer in the order of its tar, whiteouts among them.
#[derive(Debug)]
pub struct Listing {
    /// The entries.
    pub items: Vec<Item>,
}

impl Listing {
    pub(super) fn read(
        tar: &mut TarStream<'_>,
        layer: Digest,
        limits: &UnpackLimits,
        notes: &Notes,
        tally: &mut Tally,
    ) -> Result<Self, UnpackError> {
        let mut last = Vec::new();
        let items = items(tar, limits, notes, tally, &mut last);
        let items = match items {
            Err(fault) if !fault.may_be_damage() => Err(fault),
            outcome => tar.drain().map_err(Fault::from).and(outcome),
        };
        items.map(|items| Self { items }).map_err(|fault| fault.at(layer, &last))
    }
}

/// Reads what is known already, for its digests.
pub(super) fn skip(tar: &mut TarStream<'_>, layer: Digest) -> Result<(), UnpackError> {
    tar.drain().map_err(|error| Fault::from(error).at(layer, b""))
}

fn items(
    tar: &mut TarStream<'_>,
    limits: &UnpackLimits,
    notes: &Notes,
    tally: &mut Tally,
    last: &mut Vec<u8>,
) -> Result<Vec<Item>, Fault> {
    let mut tar = TarReader::new(tar);
    let mut items = Vec::new();
    while let Some(member) = tar.next_member()? {
        last.clone_from(&member.name);
        within("bytes in one file", member.size, limits.file_bytes)?;
        let item = item(member, &mut tar, limits, notes)?;
        tally.count(&item, limits)?;
        items.push(item);
    }
    items.shrink_to_fit();
    Ok(items)
}

fn item(
    member: Member,
    tar: &mut TarReader<&mut TarStream<'_>>,
    limits: &UnpackLimits,
    notes: &Notes,
) -> Result<Item, Fault> {
    let path = normalise(&member.name, limits)?;
    let link = match member.kind {
        Kind::HardLink => normalise(&member.link, limits)?,
        _ => member.link,
    };
    let noted = member.kind == Kind::File && member.size <= MAX_NOTE_BYTES && (notes.wanted)(&path);
    let mut pyc = (member.kind == Kind::File && is_pyc(&path)).then(PycReader::new);
    let (content, note) = match noted {
        true => {
            let bytes = tar.content(MAX_NOTE_BYTES)?;
            (Digest::of(&bytes), (notes.note)(&path, &bytes))
        }
        false => (hash(tar, pyc.as_mut())?, None),
    };
    let records = member.records.into_iter().map(|(key, value)| (key.into_boxed_slice(), value));
    Ok(Item {
        path: path.into_boxed_slice(),
        link: link.into_boxed_slice(),
        kind: member.kind,
        mode: member.mode,
        mtime: member.mtime,
        owner: member.owner,
        size: member.size,
        content,
        records: records.collect(),
        note,
        pyc: pyc.and_then(PycReader::finish).map(Box::new),
    })
}

fn hash(tar: &mut TarReader<&mut TarStream<'_>>, mut pyc: Option<&mut PycReader>) -> Result<Digest, Fault> {
    let mut hashing = Hashing::new(io::sink());
    loop {
        let chunk = tar.chunk()?;
        if chunk.is_empty() {
            return Ok(hashing.finish().1);
        }
        hashing.write_all(chunk)?;
        if let Some(pyc) = &mut pyc {
            pyc.take(chunk)?;
        }
        let length = chunk.len();
        tar.consume(length);
    }
}

impl Tally {
    fn count(&mut self, item: &Item, limits: &UnpackLimits) -> Result<(), Fault> {
        self.entries += 1;
        within("entries", self.entries, limits.entries)?;
        let record = |(key, _): &(Box<[u8]>, Digest)| key.len() + size_of::<(Box<[u8]>, Digest)>();
        let records: usize = item.records.iter().map(record).sum();
        let note = item.note.as_ref().map_or(0, |note| note.len());
        let pyc = item.pyc.as_ref().map_or(0, |_| size_of::<Pyc>());
        self.path_bytes += (item.path.len() + item.link.len() + records + note + pyc) as u64;
        within("bytes of all paths", self.path_bytes, limits.all_path_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_this_much_memory() {
        // With its path, its place in the tree and the allocator's share about 250 bytes.
        assert!(size_of::<Item>() <= 144, "{}", size_of::<Item>());
    }
}
