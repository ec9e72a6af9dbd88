//! The commit in a git server's response to a fetch by another program.

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use flate2::read::ZlibDecoder;
use gix::protocol::transport::packetline::PacketLineRef;
use gix::protocol::transport::packetline::blocking_io::StreamingPeekableIter;

use super::id::CommitId;

/// Bytes of a commit object that is read.
const MAX_COMMIT_BYTES: u64 = 1 << 20;
/// Pkt-lines before the pack.
const MAX_LINES: usize = 100_000;
/// The type of a commit in the header of a pack's object.
const COMMIT_TYPE: u8 = 1;

/// The first commit in a server's response to a fetch (protocol version 2): the newest one of the
/// pack. `None` if the response contains no commit, or is damaged.
pub fn first_commit(response: impl Read) -> Option<CommitId> {
    let mut lines = StreamingPeekableIter::new(BufReader::new(response), &[PacketLineRef::Flush], false);
    for _ in 0..MAX_LINES {
        if let PacketLineRef::Data(b"packfile\n") = lines.read_line()?.ok()?.ok()? {
            let mut pack = lines.as_read_with_sidebands(|_, _| ControlFlow::Continue(()));
            return read_commit(&mut pack).ok().flatten();
        }
    }
    None
}

/// Reads the start of a pack: its header and its first object.
fn read_commit(pack: &mut impl Read) -> io::Result<Option<CommitId>> {
    let mut header = [0; 12];
    pack.read_exact(&mut header)?;
    let mut byte = [0];
    pack.read_exact(&mut byte)?;
    let is_commit = byte[0] >> 4 & 7 == COMMIT_TYPE;
    // The rest of the object's length: the last byte has no continuation bit.
    while byte[0] & 0x80 != 0 {
        pack.read_exact(&mut byte)?;
    }
    if !header.starts_with(b"PACK") || !is_commit {
        return Ok(None);
    }
    let mut data = Vec::new();
    ZlibDecoder::new(pack).take(MAX_COMMIT_BYTES + 1).read_to_end(&mut data)?;
    if data.len() as u64 > MAX_COMMIT_BYTES {
        return Ok(None);
    }
    let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Commit, &data);
    Ok(id.ok().and_then(|id| id.to_string().parse().ok()))
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(bytes: &[u8]) -> Vec<u8> {
        [format!("{:04x}", bytes.len() + 4).as_bytes(), bytes].concat()
    }

    fn response(object: u8, text: &[u8]) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        zlib.write_all(text).unwrap();
        let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
        pack.extend([0x80 | object << 4 | (text.len() & 0xf) as u8, (text.len() >> 4) as u8]);
        pack.extend(zlib.finish().unwrap());
        let band = |band: u8, bytes: &[u8]| line(&[&[band], bytes].concat());
        let (one, two) = pack.split_at(20);
        [
            line(b"shallow-info\n"),
            b"0001".to_vec(),
            line(b"packfile\n"),
            band(2, b"Counting objects"),
            band(1, one),
            band(2, b"..."),
            band(1, two),
            b"0000".to_vec(),
        ]
        .concat()
    }

    #[test]
    fn finds_the_commit_of_a_pack() {
        let text = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nx\n";
        let found = first_commit(&response(1, text)[..]).unwrap();
        let wanted = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Commit, text).unwrap();
        assert_eq!(found.as_str(), wanted.to_string());
    }

    #[test]
    fn finds_nothing_in_other_responses() {
        let complete = response(1, &[b'x'; 40]);
        let endless = response(1, &vec![b'x'; MAX_COMMIT_BYTES as usize + 1]);
        let refs = line(b"0123456789012345678901234567890123456789 refs/heads/main\n");
        for other in [&response(3, &[b'x'; 40])[..], &complete[..60], b"", b"zzzz", &refs, &endless] {
            assert_eq!(first_commit(other), None);
        }
    }
}
