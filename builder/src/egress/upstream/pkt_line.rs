//! Normalizes git's responses with a pack.
//!
//! A server splits the pack into packets wherever its own reads ended, with progress messages
//! between them. Without normalization, two responses with the same pack would have different
//! bodies, and two recordings would differ.

use std::io::{self, BufReader, Read, Seek};

use gix::protocol::transport::packetline::Channel;
use gix::protocol::transport::packetline::decode::{PacketLineOrWantedSize, hex_prefix};

use crate::egress::body_store::{BodyStore, BodyStoreError, Spool};
use crate::egress::recording::RecordedRequest;

/// Size of a packet's length, in hexadecimal digits.
const LENGTH_BYTES: usize = 4;
/// Maximum bytes of data in one packet (git's pkt-line format).
const MAX_DATA_BYTES: usize = 65_516;
/// Maximum bytes of a pack in one packet: one byte is the side-band channel.
const MAX_PACK_BYTES: usize = MAX_DATA_BYTES - 1;

/// The errors of [`next_packet`] for data that is not in pkt-line format.
const NOT_PKT_LINE: [io::ErrorKind; 2] = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];

/// Whether the response to a request may be in pkt-line format with a pack.
pub(super) fn has_pack(request: &RecordedRequest) -> bool {
    request.url.as_url().path().ends_with("/git-upload-pack")
}

/// The same response with its pack in packets of the maximum size, and without progress messages. A
/// body that is not in pkt-line format up to its end is returned unchanged.
pub(super) fn normalize(mut spool: Spool, bodies: &BodyStore) -> Result<Spool, BodyStoreError> {
    let mut normalized = bodies.spool()?;
    let mut file = spool.file();
    file.rewind().map_err(BodyStoreError::Source)?;
    let is_pkt_line = rewrite(&mut BufReader::new(file), &mut |bytes| normalized.write(bytes))?;
    Ok(if is_pkt_line { normalized } else { spool })
}

/// Writes the normalized form of `source`. Whether all of `source` was in pkt-line format.
fn rewrite(
    source: &mut impl Read,
    write: &mut dyn FnMut(&[u8]) -> Result<(), BodyStoreError>,
) -> Result<bool, BodyStoreError> {
    const PACK: u8 = Channel::Data as u8;
    const PROGRESS: u8 = Channel::Progress as u8;
    let mut pack = Vec::new();
    loop {
        let packet = match next_packet(source) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                write_pack(&mut pack, 1, write)?;
                return Ok(true);
            }
            Err(error) if NOT_PKT_LINE.contains(&error.kind()) => return Ok(false),
            Err(error) => return Err(BodyStoreError::Source(error)),
        };
        match packet.get(LENGTH_BYTES) {
            Some(&PACK) => {
                pack.extend_from_slice(&packet[LENGTH_BYTES + 1..]);
                write_pack(&mut pack, MAX_PACK_BYTES, write)?;
            }
            Some(&PROGRESS) => {}
            _ => {
                write_pack(&mut pack, 1, write)?;
                write(&packet)?;
            }
        }
    }
}

/// Writes packets of pack data until less than `min_bytes` are left.
fn write_pack(
    pack: &mut Vec<u8>,
    min_bytes: usize,
    write: &mut dyn FnMut(&[u8]) -> Result<(), BodyStoreError>,
) -> Result<(), BodyStoreError> {
    while pack.len() >= min_bytes {
        let rest = pack.split_off(pack.len().min(MAX_PACK_BYTES));
        write(format!("{:04x}", pack.len() + LENGTH_BYTES + 1).as_bytes())?;
        write(&[Channel::Data as u8])?;
        write(pack)?;
        *pack = rest;
    }
    Ok(())
}

/// The next packet including its length; `None` at the end.
fn next_packet(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut packet = Vec::new();
    source.take(LENGTH_BYTES as u64).read_to_end(&mut packet)?;
    if packet.is_empty() {
        return Ok(None);
    }
    if packet.len() < LENGTH_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = match hex_prefix(&packet) {
        // A flush, delimiter or response-end packet.
        Ok(PacketLineOrWantedSize::Line(_)) => 0,
        Ok(PacketLineOrWantedSize::Wanted(length)) => usize::from(length),
        Err(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    if length > MAX_DATA_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    source.take(length as u64).read_to_end(&mut packet)?;
    match packet.len() == LENGTH_BYTES + length {
        true => Ok(Some(packet)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut written = Vec::new();
        let mut write = |bytes: &[u8]| {
            written.extend_from_slice(bytes);
            Ok(())
        };
        rewrite(&mut &*bytes, &mut write).unwrap().then_some(written)
    }

    #[test]
    fn normalizes_every_split_of_a_pack_to_the_same_bytes() {
        let one = b"000dpackfile\n000a\x01PACK!0000";
        for other in [
            &b"000dpackfile\n0008\x01PAC0007\x01K!0000"[..],
            b"000dpackfile\n0005\x01000b\x02count\n000a\x01PACK!0000",
            one,
        ] {
            assert_eq!(normalized(other).unwrap(), one);
        }
    }

    #[test]
    fn writes_packets_of_the_maximum_size() {
        let packet = |size: usize| [format!("{:04x}\x01", size + 5).as_bytes(), &vec![7; size]].concat();
        let split = [packet(40_000), packet(40_000), b"0000".to_vec()].concat();
        assert_eq!(normalized(&split).unwrap(), [packet(65_515), packet(14_485), b"0000".to_vec()].concat());
    }

    #[test]
    fn reports_a_read_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        for start in [&b"000dpackfile\n"[..], b"000a", b"00"] {
            let result = rewrite(&mut start.chain(Broken), &mut |_| Ok(()));
            assert!(matches!(result, Err(BodyStoreError::Source(_))));
        }
    }

    #[test]
    fn keeps_a_body_in_another_format() {
        for other in
            [&b"0008NAK\nPACK...."[..], b"<html>", b"0009ab", b"fffff", b"00", b"+00a\x01PACK!", b"0004"]
        {
            assert_eq!(normalized(other), None, "{other:?}");
        }
    }
}
