//! Reads tar: one member after another, from a stream or from a seekable file.
//!
//! The `tar` crate parses the headers. The extensions (PAX records, GNU long names) are parsed here,
//! because the crate reads them into memory without a limit and splits PAX records at newlines,
//! which binary values (`security.capability`) may contain.
//!
//! Rejects what two readers could interpret differently: content of a member whose type has none,
//! sparse files, unknown types.

mod error;
mod extensions;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek};

use tar::{EntryType, Header};

use self::error::malformed;
use self::extensions::Extensions;
use crate::digest::Digest;

pub use self::error::ReadTarError;
pub use self::extensions::MAX_EXTENSION_BYTES;

const BLOCK_BYTES: u64 = 512;

const SPARSE: &str = "sparse files are not supported";

/// Maximum mtime in seconds since 1970 (in 2106): later times, and those before 1970, are clamped.
/// Every file system can store the times in between.
pub const MAX_MTIME: i64 = u32::MAX as i64;

/// The type of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of a file; [`Member::link`] is a path from the archive's root.
    HardLink,
    /// A symbolic link; [`Member::link`] is its target.
    Symlink,
    /// A directory.
    Directory,
    /// A block or character device.
    Device,
    /// A named pipe.
    Fifo,
}

/// One member of an archive, from its header and its extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The name as written: any bytes, absolute, with `..`, or empty.
    pub name: Vec<u8>,
    /// The target of a link, as written; for a device its type, major and minor number (`c 1:3`,
    /// `b 8:0`); empty for all others.
    pub link: Vec<u8>,
    /// Its type.
    pub kind: Kind,
    /// The mode's low twelve bits.
    pub mode: u32,
    /// Whole seconds since 1970, between 0 and [`MAX_MTIME`].
    pub mtime: i64,
    /// Owner and group.
    pub owner: (u64, u64),
    /// Whether it has extended attributes.
    pub xattrs: bool,
    /// The other PAX records: each key, and the digest of its value. They include extended
    /// attributes, and an mtime with a fraction.
    pub records: BTreeMap<Vec<u8>, Digest>,
    /// Length of the content in bytes: 0 for all types except files.
    pub size: u64,
    /// The offset of the content in bytes from the archive's beginning.
    pub offset: u64,
}

/// Reads an archive's members in order. Memory does not grow with the archive.
pub struct TarReader<R> {
    reader: R,
    /// Bytes consumed from the reader.
    position: u64,
    /// Bytes of the current member's content that are not yet consumed.
    content: u64,
    /// Bytes between the end of the content and the next header.
    padding: u64,
    skip: fn(&mut R, u64) -> io::Result<()>,
}

impl<R: BufRead> TarReader<R> {
    /// Reads a stream; skipped content is read and dropped.
    pub fn new(reader: R) -> Self {
        Self::with_skip(reader, skip_reading)
    }

    fn with_skip(reader: R, skip: fn(&mut R, u64) -> io::Result<()>) -> Self {
        Self { reader, position: 0, content: 0, padding: 0, skip }
    }

    /// Skips the rest of the current member and reads the next one; `None` at the end of the archive,
    /// which is an empty block or the end of the stream after a complete block. Bytes after an empty
    /// block are not read.
    pub fn next_member(&mut self) -> Result<Option<Member>, ReadTarError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.next_header()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => malformed("the archive ends after an extension without its member"),
                };
            };
            let size = header.entry_size().map_err(|error| ReadTarError::Malformed(error.to_string()))?;
            match header.entry_type() {
                EntryType::XHeader => extensions.add_pax(&self.extension(size)?)?,
                EntryType::GNULongName => extensions.path = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(until_nul(self.extension(size)?)),
                // Comments, such as the commit in the output of `git archive`.
                EntryType::XGlobalHeader => self.begin(size)?,
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the current member's content; empty at its end.
    pub fn chunk(&mut self) -> Result<&[u8], ReadTarError> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let bytes = self.reader.fill_buf()?;
        if bytes.is_empty() {
            return malformed("the archive ends within a member");
        }
        Ok(&bytes[..clamp(bytes.len(), self.content)])
    }

    /// Marks `length` bytes of the last [`Self::chunk`] as read.
    pub fn consume(&mut self, length: usize) {
        self.reader.consume(length);
        self.content -= length as u64;
        self.position += length as u64;
    }

    /// The complete content of the current member, of at most `limit` bytes.
    pub fn content(&mut self, limit: u64) -> Result<Vec<u8>, ReadTarError> {
        if self.content > limit {
            return malformed(format!("{} bytes exceed the limit of {limit}", self.content));
        }
        let mut content = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(chunk);
            let length = chunk.len();
            self.consume(length);
        }
    }

    /// The reader, at its current position.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn next_header(&mut self) -> Result<Option<Header>, ReadTarError> {
        let skipped = self.content + self.padding;
        (self.skip)(&mut self.reader, skipped)?;
        self.position += skipped;
        (self.content, self.padding) = (0, 0);

        let mut header = Header::new_old();
        if !self.read_block(header.as_mut_bytes())? || header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        match header.cksum() {
            Ok(sum) if sum == checksum(header.as_bytes()) => Ok(Some(header)),
            _ => malformed(format!("byte {} is not a tar header", self.position - BLOCK_BYTES)),
        }
    }

    /// Reads the block of a header; false at the end of the stream.
    fn read_block(&mut self, block: &mut [u8]) -> Result<bool, ReadTarError> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.reader.read_exact(block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                ReadTarError::Malformed("the archive ends within a header".into())
            }
            _ => error.into(),
        })?;
        self.position += BLOCK_BYTES;
        Ok(true)
    }

    fn begin(&mut self, size: u64) -> Result<(), ReadTarError> {
        if size.checked_add(self.position).is_none_or(|end| end > i64::MAX as u64) {
            return malformed(format!("a member has {size} bytes"));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK_BYTES) - size;
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ReadTarError> {
        self.begin(size)?;
        self.content(MAX_EXTENSION_BYTES)
    }

    fn member(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Member, ReadTarError> {
        let size = extensions.size.unwrap_or(size);
        let name = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = kind_of(header.entry_type(), &name)?;
        if extensions.sparse {
            return malformed(SPARSE);
        }
        if size != 0 && kind != Kind::File {
            return malformed("a member whose type has no content has content");
        }
        self.begin(size)?;
        let link = match kind {
            Kind::HardLink | Kind::Symlink => extensions.link.unwrap_or_else(|| link_name(header)),
            Kind::Device => device(header)?.into_bytes(),
            Kind::File | Kind::Directory | Kind::Fifo => Vec::new(),
        };
        let mode = header.mode().map_err(|error| ReadTarError::Malformed(error.to_string()))?;
        let mtime = extensions.mtime.unwrap_or_else(|| header.mtime().map_or(0, |time| time as i64));
        let uid = extensions.uid.unwrap_or_else(|| header.uid().unwrap_or(0));
        let gid = extensions.gid.unwrap_or_else(|| header.gid().unwrap_or(0));
        Ok(Member {
            name,
            link,
            kind,
            mode: mode & 0o7777,
            mtime: mtime.clamp(0, MAX_MTIME),
            owner: (uid, gid),
            xattrs: extensions.xattrs,
            records: extensions.records,
            size,
            offset: self.position,
        })
    }
}

impl<R: BufRead + Seek> TarReader<R> {
    /// Reads a file; skipped content is passed by seeking, possibly beyond the end of the file. So the
    /// caller must compare [`Member::offset`] and [`Member::size`] with the file's length.
    pub fn seeking(reader: R) -> Self {
        Self::with_skip(reader, |reader, length| reader.seek_relative(length as i64))
    }
}

fn skip_reading<R: BufRead>(reader: &mut R, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let available = clamp(reader.fill_buf()?.len(), length);
        if available == 0 {
            let reason = "the archive ends within a member";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        reader.consume(available);
        length -= available as u64;
    }
    Ok(())
}

fn clamp(available: usize, wanted: u64) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| available.min(wanted))
}

/// The sum of a header's bytes, with blanks in place of its checksum field.
fn checksum(header: &[u8; BLOCK_BYTES as usize]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..])
}

fn kind_of(entry_type: EntryType, name: &[u8]) -> Result<Kind, ReadTarError> {
    match entry_type {
        // Before ustar, a directory was a file whose name ends with a slash.
        EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => Ok(Kind::Directory),
        EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
        EntryType::Link => Ok(Kind::HardLink),
        EntryType::Symlink => Ok(Kind::Symlink),
        EntryType::Directory => Ok(Kind::Directory),
        EntryType::Char | EntryType::Block => Ok(Kind::Device),
        EntryType::Fifo => Ok(Kind::Fifo),
        EntryType::GNUSparse => malformed(SPARSE),
        other => malformed(format!("a member has the unknown type {:?}", char::from(other.as_byte()))),
    }
}

fn link_name(header: &Header) -> Vec<u8> {
    header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default()
}

/// A device's type and numbers. Headers before ustar have no numbers.
fn device(header: &Header) -> Result<String, ReadTarError> {
    /// The fields of major and minor number.
    const NUMBERS: [std::ops::Range<usize>; 2] = [329..337, 337..345];
    let is_blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' '));
    let number = |number: io::Result<Option<u32>>, field: std::ops::Range<usize>| match number {
        Ok(number) => Ok(number.unwrap_or_default()),
        Err(_) if is_blank(&header.as_bytes()[field]) => Ok(0),
        Err(error) => malformed(error.to_string()),
    };
    let letter = if header.entry_type() == EntryType::Char { 'c' } else { 'b' };
    let [major, minor] = NUMBERS;
    let (major, minor) = (number(header.device_major(), major)?, number(header.device_minor(), minor)?);
    Ok(format!("{letter} {major}:{minor}"))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}
