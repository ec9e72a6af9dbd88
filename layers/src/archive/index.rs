//! The positions of the members of a tar file, so that they can be read without extraction.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::source::{MAX_DOCUMENT_BYTES, SourceError};
use crate::tar_reader::{Kind, Member, ReadTarError, TarReader};
use crate::text::{escape, escape_path};
use crate::unpack::Compression;

/// Maximum number of members of an archive. An image of 127 layers has about 400.
pub const MAX_ARCHIVE_MEMBERS: usize = 100_000;

/// Maximum number of links followed from one name (old Docker versions link equal layers).
const MAX_LINKS: usize = 8;

/// Maximum length of a member's name in bytes; members with longer names are ignored.
const MAX_NAME_BYTES: usize = 4096;

/// The position of a member's content in the archive, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    offset: u64,
    pub size: u64,
}

impl Extent {
    pub(super) fn reader(self, file: &Arc<File>) -> ExtentReader {
        ExtentReader { file: Arc::clone(file), extent: self }
    }
}

/// Reads a part of a file, independent of the position of other readers.
pub(super) struct ExtentReader {
    file: Arc<File>,
    extent: Extent,
}

impl Read for ExtentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.extent.size).map_or(buffer.len(), |size| size.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..wanted], self.extent.offset)?;
        self.extent.offset += read as u64;
        self.extent.size -= read as u64;
        Ok(read)
    }
}

enum Entry {
    File(Extent),
    /// The name that a link refers to.
    Link(String),
}

/// An archive's index.
pub(super) struct Archive {
    path: String,
    pub name: String,
    pub file: Arc<File>,
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    pub(super) fn open(path: &Path, name: String) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Io { path: escape_path(path), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut archive = Self {
            path: escape_path(path),
            name,
            file: Arc::new(file.try_clone().map_err(failed)?),
            entries: BTreeMap::new(),
        };
        archive.reject_compressed()?;
        let mut tar = TarReader::seeking(BufReader::new(file));
        while let Some(member) = tar.next_member().map_err(|error| archive.tar_error(error))? {
            archive.add(member, length)?;
        }
        Ok(archive)
    }

    fn reject_compressed(&self) -> Result<(), SourceError> {
        match self.compression(Extent { offset: 0, size: 4 })? {
            Compression::None => Ok(()),
            compression => self.invalid(format!("it is compressed with {compression}; decompress it first")),
        }
    }

    fn add(&mut self, member: Member, length: u64) -> Result<(), SourceError> {
        // All names that are looked up are UTF-8.
        let Ok(name) = str::from_utf8(&member.name) else { return Ok(()) };
        if name.len().max(member.link.len()) > MAX_NAME_BYTES {
            return Ok(());
        }
        let entry = match member.kind {
            Kind::File if member.offset + member.size > length => {
                return self.invalid(format!("the archive ends within `{name}`"));
            }
            Kind::File => Entry::File(Extent { offset: member.offset, size: member.size }),
            Kind::HardLink => Entry::Link(resolve("", &String::from_utf8_lossy(&member.link))),
            Kind::Symlink => {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                Entry::Link(resolve(directory, &String::from_utf8_lossy(&member.link)))
            }
            _ => return Ok(()),
        };
        if self.entries.len() == MAX_ARCHIVE_MEMBERS {
            return self.invalid(format!("it has more than {MAX_ARCHIVE_MEMBERS} members"));
        }
        if self.entries.insert(resolve("", name), entry).is_some() {
            return self.invalid(format!("it has two members named `{name}`"));
        }
        Ok(())
    }

    /// All members' names, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The file of this name; follows links.
    pub(super) fn find(&self, name: &str) -> Option<Extent> {
        let mut name = resolve("", name);
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name)? {
                Entry::File(extent) => return Some(*extent),
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    pub(super) fn file(&self, name: &str) -> Result<Extent, SourceError> {
        self.find(name).ok_or_else(|| SourceError::NotFound {
            what: format!("`{}`", escape(name)),
            image: self.name.clone(),
        })
    }

    /// The content of a member of at most [`MAX_DOCUMENT_BYTES`].
    pub(super) fn document(&self, what: &'static str, name: &str) -> Result<Vec<u8>, SourceError> {
        let extent = self.file(name)?;
        if extent.size > MAX_DOCUMENT_BYTES {
            let (image, size, limit) = (self.name.clone(), extent.size, MAX_DOCUMENT_BYTES);
            return Err(SourceError::TooLarge { what, image, size, limit });
        }
        let mut bytes = Vec::new();
        extent.reader(&self.file).read_to_end(&mut bytes).map_err(|error| self.io_error(error))?;
        Ok(bytes)
    }

    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        what: &'static str,
        bytes: &[u8],
    ) -> Result<T, SourceError> {
        serde_json::from_slice(bytes).map_err(|source| SourceError::Parse {
            what,
            image: self.name.clone(),
            source,
        })
    }

    /// The compression of a member, detected from its first bytes.
    pub(super) fn compression(&self, extent: Extent) -> Result<Compression, SourceError> {
        let mut beginning = Vec::new();
        let reader = extent.reader(&self.file);
        reader.take(4).read_to_end(&mut beginning).map_err(|error| self.io_error(error))?;
        Ok(Compression::detect(&beginning))
    }

    pub(super) fn invalid<T>(&self, reason: impl Into<String>) -> Result<T, SourceError> {
        let reason = escape(&reason.into());
        Err(SourceError::Invalid { image: self.name.clone(), reason })
    }

    pub(super) fn io_error(&self, source: io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), source }
    }

    fn tar_error(&self, error: ReadTarError) -> SourceError {
        match error {
            ReadTarError::Io(error) => self.io_error(error),
            ReadTarError::Malformed(reason) => {
                SourceError::Invalid { image: self.name.clone(), reason: format!("invalid tar: {reason}") }
            }
        }
    }
}

/// The normal form of a member's name relative to `directory`: without `.`, `..` and leading slashes.
/// The parent of the archive's root is the root.
fn resolve(directory: &str, name: &str) -> String {
    let directory = if name.starts_with('/') { "" } else { directory };
    let mut names: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(part),
        }
    }
    names.join("/")
}
