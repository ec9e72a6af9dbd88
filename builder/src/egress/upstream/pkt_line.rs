//! Git servers' answers, the same however a server's pipes happened to fill.
//!
//! A pack comes in packets, cut wherever the server's own reads ended, with words about its
//! progress between them. Two answers with the same pack would be two bodies, and two recordings
//! two records.

use std::io::{self, BufReader, Read, Seek};

use super::super::body_store::{BodyStore, BodyStoreError, Spool};
use super::super::recording::Request;

/// Bytes of the largest packet, its length and its band included.
const MAX_PACKET_BYTES: usize = 65_520;

/// Bytes of a packet's length, in hexadecimal digits.
const LENGTH: usize = 4;

/// The pack itself; progress is in the next band, and errors in the one after it.
const DATA: u8 = 1;
const PROGRESS: u8 = 2;

/// How [`next`] fails where it reads something else.
const NO_PACKETS: [io::ErrorKind; 2] = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];

/// Whether a request is answered in packets with a pack in them.
pub(super) fn is_fetch(request: &Request) -> bool {
    request.url.as_url().path().ends_with("/git-upload-pack")
}

/// The same answer with its pack in packets as large as can be, and without words on progress. What
/// cannot be read as packets to its end stays as it is.
pub(super) fn settle(mut spool: Spool, bodies: &BodyStore) -> Result<Spool, BodyStoreError> {
    let mut settled = bodies.spool()?;
    let mut file = spool.file();
    file.rewind().map_err(BodyStoreError::Source)?;
    let is_settled = rewrite(&mut BufReader::new(file), &mut |bytes| settled.write(bytes))?;
    Ok(if is_settled { settled } else { spool })
}

/// Whether all of `source` was packets.
fn rewrite(
    source: &mut impl Read,
    write: &mut dyn FnMut(&[u8]) -> Result<(), BodyStoreError>,
) -> Result<bool, BodyStoreError> {
    let mut data = Vec::new();
    loop {
        let packet = match next(source) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                write_data(&mut data, 1, write)?;
                return Ok(true);
            }
            Err(error) if NO_PACKETS.contains(&error.kind()) => return Ok(false),
            Err(error) => return Err(BodyStoreError::Source(error)),
        };
        match packet.get(LENGTH) {
            Some(&DATA) => {
                data.extend_from_slice(&packet[LENGTH + 1..]);
                write_data(&mut data, MAX_PACKET_BYTES - LENGTH - 1, write)?;
            }
            Some(&PROGRESS) => {}
            _ => {
                write_data(&mut data, 1, write)?;
                write(&packet)?;
            }
        }
    }
}

/// Writes packets of data until less than `least` bytes are left.
fn write_data(
    data: &mut Vec<u8>,
    least: usize,
    write: &mut dyn FnMut(&[u8]) -> Result<(), BodyStoreError>,
) -> Result<(), BodyStoreError> {
    while data.len() >= least {
        let rest = data.split_off(data.len().min(MAX_PACKET_BYTES - LENGTH - 1));
        write(format!("{:04x}", data.len() + LENGTH + 1).as_bytes())?;
        write(&[DATA])?;
        write(data)?;
        *data = rest;
    }
    Ok(())
}

/// The next packet with its length, nothing at the end.
fn next(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut packet = Vec::new();
    source.take(LENGTH as u64).read_to_end(&mut packet)?;
    if packet.is_empty() {
        return Ok(None);
    }
    let length = std::str::from_utf8(&packet).ok().filter(|text| text.len() == LENGTH);
    let length = length.and_then(|text| usize::from_str_radix(text, 16).ok());
    // Lengths below that of the length itself are marks without content.
    let length = length.filter(|length| *length <= MAX_PACKET_BYTES).ok_or(io::ErrorKind::InvalidData)?;
    source.take(length.saturating_sub(LENGTH) as u64).read_to_end(&mut packet)?;
    match packet.len() >= length {
        true => Ok(Some(packet)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut written = Vec::new();
        let mut write = |bytes: &[u8]| {
            written.extend_from_slice(bytes);
            Ok(())
        };
        rewrite(&mut &*bytes, &mut write).unwrap().then_some(written)
    }

    #[test]
    fn however_a_pack_is_cut_it_is_the_same() {
        let one = b"000dpackfile\n000a\x01PACK!0000";
        for other in [
            &b"000dpackfile\n0008\x01PAC0007\x01K!0000"[..],
            b"000dpackfile\n0005\x01000b\x02count\n000a\x01PACK!0000",
            one,
        ] {
            assert_eq!(settled(other).unwrap(), one);
        }
    }

    #[test]
    fn a_large_pack_comes_in_large_packets() {
        let packet = |size: usize| [format!("{:04x}\x01", size + 5).as_bytes(), &vec![7; size]].concat();
        let cut = [packet(40_000), packet(40_000), b"0000".to_vec()].concat();
        assert_eq!(settled(&cut).unwrap(), [packet(65_515), packet(14_485), b"0000".to_vec()].concat());
    }

    #[test]
    fn what_cannot_be_read_is_a_failure() {
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
    fn what_is_something_else_stays() {
        for other in [&b"0008NAK\nPACK...."[..], b"<html>", b"0009ab", b"fffff", b"00"] {
            assert_eq!(settled(other), None, "{other:?}");
        }
    }
}
