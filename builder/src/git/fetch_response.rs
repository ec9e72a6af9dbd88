//! What a git server sent to somebody else: for those who want to know which commit it was.

use std::io::{self, BufReader, Read};

use flate2::read::ZlibDecoder;

use super::CommitId;

/// The largest commit object that is looked at, in bytes.
const MAX_COMMIT_BYTES: u64 = 1 << 20;
/// Sections before the pack are skipped up to here.
const MAX_LINES: usize = 100_000;
/// A pkt-line that carries data of the pack.
const PACK_BAND: u8 = 1;

/// The first commit in a server's answer to a fetch (protocol version 2), which is the newest one
/// that was sent. Nothing if the answer is none, or is damaged.
pub fn first_commit(answer: impl Read) -> Option<CommitId> {
    let mut lines = Lines { answer: BufReader::new(answer), rest: Vec::new() };
    (0..MAX_LINES).map_while(|_| lines.next().ok().flatten()).find(|line| line == b"packfile\n")?;
    commit(&mut lines).ok().flatten()
}

/// Reads the beginning of a pack: its header, and its first object.
fn commit(pack: &mut impl Read) -> io::Result<Option<CommitId>> {
    let mut header = [0; 12];
    pack.read_exact(&mut header)?;
    let mut byte = [0];
    pack.read_exact(&mut byte)?;
    let is_commit = byte[0] >> 4 & 7 == 1;
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

/// An answer line by line; read as a stream, the data of the pack in it.
struct Lines<R> {
    answer: R,
    rest: Vec<u8>,
}

impl<R: Read> Lines<R> {
    /// The next line that has something in it; nothing at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut length = [0; 4];
            match self.answer.read_exact(&mut length) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            let length = str::from_utf8(&length).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
            let length = length.ok_or(io::ErrorKind::InvalidData)?;
            if length > 4 {
                let mut line = vec![0; length - 4];
                self.answer.read_exact(&mut line)?;
                return Ok(Some(line));
            }
        }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.next()? {
                None => return Ok(0),
                Some(line) if line.first() == Some(&PACK_BAND) => self.rest = line[1..].to_vec(),
                Some(_) => {}
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(bytes: &[u8]) -> Vec<u8> {
        [format!("{:04x}", bytes.len() + 4).as_bytes(), bytes].concat()
    }

    fn answer(object: u8, text: &[u8]) -> Vec<u8> {
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
    fn an_answer_names_its_commit() {
        let text = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nx\n";
        let found = first_commit(&answer(1, text)[..]).unwrap();
        let wanted = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Commit, text).unwrap();
        assert_eq!(found.as_str(), wanted.to_string());
    }

    #[test]
    fn anything_else_names_none() {
        let whole = answer(1, &[b'x'; 40]);
        let endless = answer(1, &vec![b'x'; MAX_COMMIT_BYTES as usize + 1]);
        let refs = line(b"0123456789012345678901234567890123456789 refs/heads/main\n");
        for other in [&answer(3, &[b'x'; 40])[..], &whole[..60], b"", b"zzzz", &refs, &endless] {
            assert_eq!(first_commit(other), None);
        }
    }
}
