//! Where each member of a tar file lies, so that it can be read without extracting it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::path::printable;
use crate::source::{MAX_DOCUMENT_BYTES, SourceError};
use crate::unpack::Compression;
use crate::untar::{Kind, Member, ReadTarError, TarReader};

/// An archive may have this many members. An image of 127 layers takes about 400.
pub const MAX_ARCHIVE_MEMBERS: usize = 100_000;

/// Links followed from one member's name (old Docker versions link equal layers).
const MAX_LINKS: usize = 8;

/// Members of longer names are passed over.
const MAX_NAME_BYTES: usize = 4096;

/// Where a member's content lies in the archive, in bytes.
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

/// Reads a part of a file, without moving what other readers of the file see.
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
    /// The name that a link leads to.
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
        let path_shown = path.display().to_string();
        let failed = |source| SourceError::Io { path: path_shown.clone(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut archive = Self {
            path: path.display().to_string(),
            name,
            file: Arc::new(file.try_clone().map_err(failed)?),
            entries: BTreeMap::new(),
        };
        archive.refuse_compressed()?;
        let mut tar = TarReader::seeking(BufReader::new(file));
        while let Some(member) = tar.next_member().map_err(|error| archive.tar_error(error))? {
            archive.add(member, length)?;
        }
        Ok(archive)
    }

    fn refuse_compressed(&self) -> Result<(), SourceError> {
        match self.compression(Extent { offset: 0, size: 4 })? {
            Compression::None => Ok(()),
            other => self.invalid(format!("it is compressed ({other:?}); decompress the file first")),
        }
    }

    fn add(&mut self, member: Member, length: u64) -> Result<(), SourceError> {
        // Nothing that we look for has such a name.
        let Ok(name) = str::from_utf8(&member.name) else { return Ok(()) };
        if name.len().max(member.link.len()) > MAX_NAME_BYTES {
            return Ok(());
        }
        let entry = match member.kind {
            Kind::File if member.offset + member.size > length => {
                return self.invalid(format!("`{name}` is cut off by the archive's end"));
            }
            Kind::File => Entry::File(Extent { offset: member.offset, size: member.size }),
            Kind::HardLink => Entry::Link(resolve("", &String::from_utf8_lossy(&member.link))),
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                Entry::Link(resolve(folder, &String::from_utf8_lossy(&member.link)))
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

    /// The file of this name, through links.
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
            what: format!("`{}`", printable(name.as_bytes())),
            image: self.name.clone(),
        })
    }

    /// A small member's whole content.
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

    /// How a member is compressed, by its first bytes.
    pub(super) fn compression(&self, extent: Extent) -> Result<Compression, SourceError> {
        let mut beginning = Vec::new();
        let reader = extent.reader(&self.file);
        reader.take(4).read_to_end(&mut beginning).map_err(|error| self.io_error(error))?;
        Ok(Compression::sniff(&beginning))
    }

    pub(super) fn invalid<T>(&self, reason: impl Into<String>) -> Result<T, SourceError> {
        let reason = printable(reason.into().as_bytes());
        Err(SourceError::Invalid { image: self.name.clone(), reason })
    }

    pub(super) fn io_error(&self, source: io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), source }
    }

    fn tar_error(&self, error: ReadTarError) -> SourceError {
        match error {
            ReadTarError::Io(error) => self.io_error(error),
            ReadTarError::Malformed(reason) => {
                SourceError::Invalid { image: self.name.clone(), reason: format!("as a tar: {reason}") }
            }
        }
    }
}

/// A member's name as seen from `folder`: without `.`, `..` and leading slashes; above the
/// archive's root is the root.
fn resolve(folder: &str, name: &str) -> String {
    let folder = if name.starts_with('/') { "" } else { folder };
    let mut names: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(part),
        }
    }
    names.join("/")
}
