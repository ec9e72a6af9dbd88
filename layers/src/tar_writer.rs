//! Writes canonical tar: the same entries always give the same bytes. `docs/format.md` specifies them.
//!
//! Headers are filled here field by field, because the defaults of the `tar` crate depend on the
//! machine (mode bits, times, sparse files). The caller writes the contents, in pieces of any size.

use std::io::{self, Write};

use tar::{EntryType, Header, UstarHeader};

use crate::format::{MODE_EXECUTABLE, MODE_PLAIN, MODE_SYMLINK};
use crate::tree::{Entry, EntryKind};

const BLOCK_BYTES: usize = 512;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Maximum of a field with seven octal digits (uid, gid).
const MAX_SHORT: u64 = 0o777_7777;
/// Maximum of a field with eleven octal digits (size, mtime): 8 GiB less one byte.
const MAX_LONG: u64 = 0o777_7777_7777;

/// The name of every extended header. Readers that know extended headers never unpack it.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// Writes one archive.
pub struct TarWriter<W> {
    inner: W,
    /// Bytes of the current file that are not yet written.
    remaining: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive on `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, remaining: 0, padding: 0 }
    }

    /// Writes the next entry's header; exactly [`Entry::size`] bytes of [`Self::content`] must follow.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.check_complete()?;
        self.inner.write_all(&headers(entry))?;
        self.remaining = entry.size();
        self.padding = (BLOCK_BYTES - (self.remaining % BLOCK_BYTES as u64) as usize) % BLOCK_BYTES;
        Ok(())
    }

    /// Writes the next bytes of the current file.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.remaining = self
            .remaining
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("the content is longer than the size in the entry's header"))?;
        self.inner.write_all(bytes)?;
        if self.remaining == 0 {
            self.inner.write_all(&ZEROS[..std::mem::take(&mut self.padding)])?;
        }
        Ok(())
    }

    /// Ends the archive with two blocks of zeros and returns the writer. An archive that is dropped
    /// without it is incomplete.
    pub fn finish(mut self) -> io::Result<W> {
        self.check_complete()?;
        self.inner.write_all(&ZEROS)?;
        self.inner.write_all(&ZEROS)?;
        Ok(self.inner)
    }

    fn check_complete(&self) -> io::Result<()> {
        if self.remaining > 0 {
            return Err(io::Error::other("the content is shorter than the size in the entry's header"));
        }
        Ok(())
    }
}

/// The bytes before an entry's content: an extended header if a field does not fit, and the ustar
/// header.
fn headers(entry: &Entry) -> Vec<u8> {
    let mut pax = Pax::default();
    let mut header = Header::new_ustar();
    let owner = entry.mapping.owner;
    let mut path = entry.path.as_bytes().to_vec();
    let (kind, mode) = match &entry.kind {
        EntryKind::Directory => (EntryType::Directory, MODE_EXECUTABLE),
        EntryKind::File { executable: true, .. } => (EntryType::Regular, MODE_EXECUTABLE),
        EntryKind::File { executable: false, .. } => (EntryType::Regular, MODE_PLAIN),
        EntryKind::Symlink { .. } => (EntryType::Symlink, MODE_SYMLINK),
    };
    if entry.is_directory() {
        path.push(b'/');
    }
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(pax.number("uid", u64::from(owner.uid), MAX_SHORT));
    header.set_gid(pax.number("gid", u64::from(owner.gid), MAX_SHORT));
    header.set_size(pax.number("size", entry.size(), MAX_LONG));
    header.set_mtime(pax.signed("mtime", entry.mtime));
    if let Some(fields) = header.as_ustar_mut() {
        pax.path(&path, fields);
        if let EntryKind::Symlink { target } = &entry.kind {
            pax.link(target, fields);
        }
    }
    header.set_cksum();
    let mut bytes = pax.into_bytes();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// The fields that do not fit into a ustar header, as records `length key=value`.
#[derive(Default)]
struct Pax {
    records: Vec<(&'static str, Vec<u8>)>,
}

impl Pax {
    /// A number that is too large for its field becomes a record, and the field is zero.
    fn number(&mut self, key: &'static str, value: u64, max: u64) -> u64 {
        if value <= max {
            return value;
        }
        self.records.push((key, value.to_string().into_bytes()));
        0
    }

    fn signed(&mut self, key: &'static str, value: i64) -> u64 {
        match u64::try_from(value) {
            Ok(value) => self.number(key, value, MAX_LONG),
            Err(_) => {
                self.records.push((key, value.to_string().into_bytes()));
                0
            }
        }
    }

    /// An ASCII path is stored in `name`, or split at the first slash with which both parts fit into
    /// `prefix` and `name`. All other paths become a record, with a placeholder in `name`.
    fn path(&mut self, path: &[u8], fields: &mut UstarHeader) {
        if path.is_ascii() {
            if path.len() <= fields.name.len() {
                return fill(&mut fields.name, path);
            }
            if let Some(slash) = split(path, fields) {
                fill(&mut fields.prefix, &path[..slash]);
                return fill(&mut fields.name, &path[slash + 1..]);
            }
        }
        self.records.push(("path", path.to_vec()));
        let name = placeholder(path, fields.name.len());
        fill(&mut fields.name, &name);
    }

    fn link(&mut self, target: &[u8], fields: &mut UstarHeader) {
        if target.is_ascii() && target.len() <= fields.linkname.len() {
            return fill(&mut fields.linkname, target);
        }
        self.records.push(("linkpath", target.to_vec()));
        let name = placeholder(target, fields.linkname.len());
        fill(&mut fields.linkname, &name);
    }

    /// The extended header, its content and padding; empty without records. Records are sorted by key.
    fn into_bytes(mut self) -> Vec<u8> {
        if self.records.is_empty() {
            return Vec::new();
        }
        self.records.sort_unstable();
        let content: Vec<u8> = self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(MODE_PLAIN);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        fill(&mut header.as_old_mut().name, PAX_NAME);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), content.as_slice()].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }
}

/// The position of the first slash with 1 to 155 bytes before it and 1 to 100 bytes after it.
fn split(path: &[u8], fields: &UstarHeader) -> Option<usize> {
    let fits = |&slash: &usize| {
        let (prefix, name) = (slash, path.len() - slash - 1);
        (1..=fields.prefix.len()).contains(&prefix) && (1..=fields.name.len()).contains(&name)
    };
    (0..path.len()).filter(|&at| path[at] == b'/').find(fits)
}

/// The name for readers that ignore extended headers: the beginning, with `_` for bytes outside ASCII.
fn placeholder(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().take(length).map(|&byte| if byte.is_ascii() { byte } else { b'_' }).collect()
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    field[..bytes.len()].copy_from_slice(bytes);
}

/// `length key=value\n`, where the length counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut bytes = format!("{length} {key}=").into_bytes();
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::ImagePath;
    use crate::tree::{Owner, SourceMapping};
    use std::io::Read;
    use std::sync::Arc;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let owner = Owner { uid: 1000, gid: 1000 };
        let mapping = SourceMapping { host: "/h".into(), image: ImagePath::root(), owner };
        Entry { path: ImagePath::new(path).unwrap(), kind, mtime: 1_700_000_000, mapping: Arc::new(mapping) }
    }

    fn file(path: &str, size: u64) -> Entry {
        entry(path, EntryKind::File { size, executable: false })
    }

    fn with_owner(mut entry: Entry, uid: u32, gid: u32) -> Entry {
        let mapping = Arc::make_mut(&mut entry.mapping);
        mapping.owner = Owner { uid, gid };
        entry
    }

    #[test]
    fn a_plain_file_has_one_header() {
        let bytes = headers(&with_owner(file("a", 5), 1000, 33));
        assert_eq!(bytes.len(), BLOCK_BYTES);
        assert_eq!(&bytes[..2], b"a\0");
        assert_eq!(&bytes[100..148], b"0000644\x000001750\x000000041\x0000000000005\x0014524770400\x00");
        assert_eq!((bytes[156], &bytes[257..265]), (b'0', &b"ustar\x0000"[..]));
        assert!(bytes[265..].iter().all(|&byte| byte == 0), "no names, no device numbers");
    }

    #[test]
    fn splits_long_ascii_paths_and_records_longer_ones() {
        let split = format!("{}/{}", "d".repeat(60), "f".repeat(80));
        assert_eq!(headers(&file(&split, 0)).len(), BLOCK_BYTES);
        assert_eq!(&headers(&file(&split, 0))[345..346], b"d");
        let long = format!("{}/{}", "d".repeat(160), "f".repeat(80));
        let bytes = headers(&file(&long, 0));
        assert_eq!(bytes.len(), 3 * BLOCK_BYTES);
        assert_eq!(&bytes[BLOCK_BYTES..BLOCK_BYTES + 10], b"251 path=d");
    }

    #[test]
    fn records_numbers_that_exceed_their_fields() {
        let mut huge = with_owner(file("a", MAX_LONG + 1), 3_000_000, 5);
        huge.mtime = -1;
        let bytes = headers(&huge);
        let records = b"12 mtime=-1\n19 size=8589934592\n15 uid=3000000\n";
        assert_eq!(&bytes[BLOCK_BYTES..BLOCK_BYTES + records.len()], records);
        assert_eq!(headers(&file("a", MAX_LONG)).len(), BLOCK_BYTES);
    }

    #[test]
    fn the_length_of_a_record_includes_its_own_digits() {
        for length in 0..2000 {
            let record = record("path", &vec![b'x'; length]);
            assert!(record.starts_with(format!("{} path=", record.len()).as_bytes()));
        }
    }

    #[test]
    fn rejects_content_that_differs_from_the_size_in_the_header() {
        let mut tar = TarWriter::new(Vec::new());
        tar.entry(&file("a", 3)).unwrap();
        assert!(tar.content(b"1234").is_err());
        tar.content(b"12").unwrap();
        assert!(tar.entry(&file("b", 0)).is_err());
        tar.content(b"3").unwrap();
        tar.entry(&file("b", 0)).unwrap();
        let bytes = tar.finish().unwrap();
        assert_eq!(bytes.len(), 5 * BLOCK_BYTES);
        assert!(bytes[515..1024].iter().chain(&bytes[3 * BLOCK_BYTES..]).all(|&byte| byte == 0));
    }

    #[test]
    fn the_tar_crate_reads_back_every_kind_of_entry() {
        let target: Arc<[u8]> = Arc::from("é/".repeat(80).as_bytes());
        let directory = entry("d/ü", EntryKind::Directory);
        let link = entry("d/ü/link", EntryKind::Symlink { target: target.clone() });
        let script = entry("d/run", EntryKind::File { size: 2, executable: true });
        let mut tar = TarWriter::new(Vec::new());
        tar.entry(&script).unwrap();
        tar.content(b"#!").unwrap();
        tar.entry(&directory).unwrap();
        tar.entry(&link).unwrap();
        let bytes = tar.finish().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for item in archive.entries().unwrap() {
            let mut item = item.unwrap();
            let mut content = String::new();
            item.read_to_string(&mut content).unwrap();
            let link = item.link_name_bytes().map(|target| target.to_vec());
            seen.push((item.path_bytes().to_vec(), item.header().mode().unwrap(), link, content));
        }
        assert_eq!(seen[0], (b"d/run".to_vec(), 0o755, None, "#!".into()));
        assert_eq!(seen[1], ("d/ü/".as_bytes().to_vec(), 0o755, None, String::new()));
        assert_eq!(seen[2], ("d/ü/link".as_bytes().to_vec(), 0o777, Some(target.to_vec()), String::new()));
    }
}
