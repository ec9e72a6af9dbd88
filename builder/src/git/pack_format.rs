//! The bytes of a pack: objects without deltas, stored without compression.
//!
//! The bytes depend on the objects and their order only, not on a version of zlib.

use std::io::{self, Write};

use gix::objs::Kind;

/// Magic bytes, and version 2.
pub(super) const SIGNATURE: &[u8; 8] = b"PACK\0\0\0\x02";
/// zlib (RFC 1950): deflate with a window of 32 KiB, no dictionary, lowest level.
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
/// Bytes of data in a stored block of deflate (RFC 1951).
const MAX_BLOCK_BYTES: usize = 0xffff;

/// Writes an object: its header, and its content as a zlib stream.
pub(super) fn write_object(kind: Kind, content: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&object_header(kind, content.len()))?;
    write_stored(content, out)
}

/// Type and length: four bits of the length in the first byte, seven in each further one.
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

/// Writes `data` as a zlib stream of stored blocks.
fn write_stored(data: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(&ZLIB_HEADER)?;
    let mut rest = data;
    loop {
        let (block, later) = rest.split_at(rest.len().min(MAX_BLOCK_BYTES));
        let length = block.len() as u16;
        let is_last = later.is_empty();
        out.write_all(&[u8::from(is_last)])?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&(!length).to_le_bytes())?;
        out.write_all(block)?;
        if is_last {
            break;
        }
        rest = later;
    }
    out.write_all(&adler32(data).to_be_bytes())
}

/// zlib's checksum (RFC 1950, section 8).
fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    /// Bytes that can be added before a 32-bit sum can overflow.
    const RUN_BYTES: usize = 5552;
    let (mut low, mut high) = (1, 0);
    for run in data.chunks(RUN_BYTES) {
        for byte in run {
            low += u32::from(*byte);
            high += low;
        }
        (low, high) = (low % MODULUS, high % MODULUS);
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_equal_those_of_zlib() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), 0x149a302c);
    }

    #[test]
    fn headers_equal_those_of_git() {
        assert_eq!(object_header(Kind::Blob, 5), [0x35]);
        assert_eq!(object_header(Kind::Tree, 0x1234), [0x80 | 0x24, 0x80 | 0x23, 0x02]);
    }

    #[test]
    fn stored_streams_are_complete() {
        for length in [0, 1, MAX_BLOCK_BYTES, MAX_BLOCK_BYTES + 1, 3 * MAX_BLOCK_BYTES] {
            let mut out = Vec::new();
            write_stored(&vec![7; length], &mut out).unwrap();
            let blocks = length.div_ceil(MAX_BLOCK_BYTES).max(1);
            assert_eq!(out.len(), 2 + 5 * blocks + length + 4, "{length}");
        }
    }
}
