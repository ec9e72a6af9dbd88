//! Compiled Python: a header that identifies the source file, and the code.

use std::fmt;
use std::io::{self, Write};

use crate::digest::{Digest, Hashing};

/// The header's length in bytes: PEP 552.
const HEADER_BYTES: usize = 16;
/// The flag of a header with the hash of the source instead of its mtime and size.
const HASH_BASED: u32 = 1;
/// The flag of a hash that Python compares with the source.
const CHECKED: u32 = 2;

/// A `.pyc` file: its header, and the digest of its code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pyc {
    header: [u8; HEADER_BYTES],
    code: Digest,
}

/// Whether the file at this path is compiled Python.
pub(super) fn is_pyc(path: &[u8]) -> bool {
    path.ends_with(b".pyc")
}

impl Pyc {
    /// Whether both have the same code, independent of the headers.
    pub(super) fn same_code(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl fmt::Display for Pyc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |at: usize| {
            let bytes = self.header[at..at + 4].try_into().expect("four bytes of sixteen");
            u32::from_le_bytes(bytes)
        };
        let (magic, flags) = (word(0), word(4));
        write!(f, "magic {magic:08x}, ")?;
        if flags & HASH_BASED == 0 {
            return write!(f, "source of {} bytes with mtime {}", word(12), word(8));
        }
        let checked = if flags & CHECKED == 0 { "unchecked" } else { "checked" };
        write!(f, "{checked} source hash ")?;
        self.header[8..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads the content of a `.pyc` file in pieces.
pub(super) struct PycReader {
    header: Vec<u8>,
    code: Hashing<io::Sink>,
}

impl PycReader {
    pub(super) fn new() -> Self {
        Self { header: Vec::with_capacity(HEADER_BYTES), code: Hashing::new(io::sink()) }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (header, code) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header.len()));
        self.header.extend_from_slice(header);
        self.code.write_all(code)
    }

    /// `None` if the content is shorter than the header.
    pub(super) fn finish(self) -> Option<Pyc> {
        let header = self.header.try_into().ok()?;
        Some(Pyc { header, code: self.code.finish().1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Option<Pyc> {
        let mut reader = PycReader::new();
        chunks.iter().for_each(|chunk| reader.add(chunk).unwrap());
        reader.finish()
    }

    #[test]
    fn separates_header_and_code_for_all_pieces() {
        let timed = b"\xa7\x0d\x0d\x0a\0\0\0\0\x01\0\0\0\x02\0\0\0code";
        let hashed = b"\xa7\x0d\x0d\x0a\x01\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08code";
        let one = read(&[timed]).unwrap();
        assert_eq!(read(&[&timed[..7], &timed[7..17], &timed[17..]]).unwrap(), one);
        let other = read(&[hashed]).unwrap();
        assert!(one.same_code(&other) && one != other);
        assert!(!one.same_code(&read(&[timed, b"more"]).unwrap()));
        assert_eq!(one.to_string(), "magic 0a0d0da7, source of 2 bytes with mtime 1");
        assert_eq!(other.to_string(), "magic 0a0d0da7, unchecked source hash 0102030405060708");
        assert_eq!(read(&[&timed[..15]]), None);
    }
}
