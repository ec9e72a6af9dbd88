//! The entries of a layer, without their contents.

use std::io::{self, Write};

use super::pyc::{Pyc, PycReader, is_pyc};
use crate::digest::{Digest, Hashing};
use crate::tar_reader::{Kind, Member, TarReader};
use crate::unpack::{EntryError, TarStream, UnpackError, UnpackLimits, normalize, within};

/// Maximum size of a file that an [`Extractor`] receives, in bytes.
pub const MAX_EXTRACT_BYTES: u64 = 256 << 10;

/// Extracts a value from the contents of some files, such as a version.
#[derive(Clone, Copy)]
pub struct Extractor {
    /// Whether to extract from the file at this path.
    pub selects: fn(path: &[u8]) -> bool,
    /// The value, from the complete content of a file of at most [`MAX_EXTRACT_BYTES`].
    pub extract: fn(path: &[u8], content: &[u8]) -> Option<Box<str>>,
}

impl Extractor {
    /// Extracts nothing.
    pub const NONE: Self = Self { selects: |_| false, extract: |_, _| None };
}

/// One entry of a layer, with all fields that are compared. Other fields of the header (the names of
/// owners) have no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The path relative to the root, in normal form; empty for the root itself.
    pub path: Box<[u8]>,
    /// The target of a symbolic link, as written; for a hard link a path like [`Self::path`]; for a
    /// device its type and numbers, as in [`Member::link`].
    pub link: Box<[u8]>,
    /// Its type.
    pub kind: Kind,
    /// The mode's low twelve bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// User and group.
    pub owner: (u64, u64),
    /// Length of the content in bytes.
    pub size: u64,
    /// The content's digest; that of the empty content for all types except files.
    pub content: Digest,
    /// Extended attributes and other PAX records: keys, and the digests of the values.
    pub records: Box<[(Box<[u8]>, Digest)]>,
    /// The value that the [`Extractor`] returned.
    pub extract: Option<Box<str>>,
    /// Set for a file of compiled Python, unless the [`Extractor`] selected it.
    pub pyc: Option<Box<Pyc>>,
}

/// Resources that all layers use together, for the limits.
#[derive(Default)]
pub(super) struct Usage {
    entries: u64,
    path_bytes: u64,
}

/// The entries of a layer in the order of its tar, whiteouts included.
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
        extractor: &Extractor,
        usage: &mut Usage,
    ) -> Result<Self, UnpackError> {
        let mut last = Vec::new();
        let items = items(tar, limits, extractor, usage, &mut last);
        let items = match items {
            Err(error) if !error.may_be_damage() => Err(error),
            outcome => tar.drain().map_err(EntryError::from).and(outcome),
        };
        items.map(|items| Self { items }).map_err(|error| error.at(layer, &last))
    }
}

/// Reads a known tar to its end, to verify its digests.
pub(super) fn drain(tar: &mut TarStream<'_>, layer: Digest) -> Result<(), UnpackError> {
    tar.drain().map_err(|error| EntryError::from(error).at(layer, b""))
}

fn items(
    tar: &mut TarStream<'_>,
    limits: &UnpackLimits,
    extractor: &Extractor,
    usage: &mut Usage,
    last: &mut Vec<u8>,
) -> Result<Vec<Item>, EntryError> {
    let mut tar = TarReader::new(tar);
    let mut items = Vec::new();
    while let Some(member) = tar.next_member()? {
        last.clone_from(&member.name);
        within("bytes in one file", member.size, limits.file_bytes)?;
        let item = item(member, &mut tar, limits, extractor)?;
        usage.add(&item, limits)?;
        items.push(item);
    }
    items.shrink_to_fit();
    Ok(items)
}

fn item(
    member: Member,
    tar: &mut TarReader<&mut TarStream<'_>>,
    limits: &UnpackLimits,
    extractor: &Extractor,
) -> Result<Item, EntryError> {
    let path = normalize(&member.name, limits)?;
    let link = match member.kind {
        Kind::HardLink => normalize(&member.link, limits)?,
        _ => member.link,
    };
    let is_selected =
        member.kind == Kind::File && member.size <= MAX_EXTRACT_BYTES && (extractor.selects)(&path);
    let mut pyc = (member.kind == Kind::File && is_pyc(&path)).then(PycReader::new);
    let (content, extract) = match is_selected {
        true => {
            let bytes = tar.content(MAX_EXTRACT_BYTES)?;
            (Digest::of(&bytes), (extractor.extract)(&path, &bytes))
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
        extract,
        pyc: pyc.and_then(PycReader::finish).map(Box::new),
    })
}

fn hash(
    tar: &mut TarReader<&mut TarStream<'_>>,
    mut pyc: Option<&mut PycReader>,
) -> Result<Digest, EntryError> {
    let mut hashing = Hashing::new(io::sink());
    loop {
        let chunk = tar.chunk()?;
        if chunk.is_empty() {
            return Ok(hashing.finish().1);
        }
        hashing.write_all(chunk)?;
        if let Some(pyc) = &mut pyc {
            pyc.add(chunk)?;
        }
        let length = chunk.len();
        tar.consume(length);
    }
}

impl Usage {
    fn add(&mut self, item: &Item, limits: &UnpackLimits) -> Result<(), EntryError> {
        self.entries += 1;
        within("entries", self.entries, limits.entries)?;
        let record = |(key, _): &(Box<[u8]>, Digest)| key.len() + size_of::<(Box<[u8]>, Digest)>();
        let records: usize = item.records.iter().map(record).sum();
        let extract = item.extract.as_ref().map_or(0, |extract| extract.len());
        let pyc = item.pyc.as_ref().map_or(0, |_| size_of::<Pyc>());
        self.path_bytes += (item.path.len() + item.link.len() + records + extract + pyc) as u64;
        within("bytes of all paths", self.path_bytes, limits.all_path_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_memory_of_an_entry() {
        // About 250 bytes with its path, its node in the tree and the overhead of the allocator.
        assert!(size_of::<Item>() <= 144, "{}", size_of::<Item>());
    }
}
