//! The extensions before a member's own header: PAX records and GNU long names.

use std::collections::BTreeMap;

use super::error::{ReadTarError, malformed};
use crate::digest::Digest;

/// Maximum length of a member's PAX records, or of a GNU long name, in bytes: they are held in memory.
pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// The fields of a member from the headers before its own.
#[derive(Default, PartialEq)]
pub(super) struct Extensions {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub mtime: Option<i64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub xattrs: bool,
    pub sparse: bool,
    pub records: BTreeMap<Vec<u8>, Digest>,
    /// Memory of the records' keys and digests in bytes.
    record_bytes: u64,
}

impl Extensions {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the records of an extended header.
    pub fn add_pax(&mut self, mut records: &[u8]) -> Result<(), ReadTarError> {
        while !records.is_empty() {
            let Some((key, value, rest)) = split_record(records) else {
                return malformed("a damaged PAX record");
            };
            self.add_record(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn add_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadTarError> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            // Fractions are dropped from the mtime, and values that are not numbers are ignored.
            b"mtime" => {
                self.mtime = whole_seconds(value);
                if value.contains(&b'.') {
                    self.keep(key, value)?;
                }
            }
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ if key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.") => {
                self.xattrs = true;
                self.keep(key, value)?;
            }
            _ => self.keep(key, value)?,
        }
        Ok(())
    }

    /// Keeps a record, within a limit: a member may have any number of extensions.
    fn keep(&mut self, key: &[u8], value: &[u8]) -> Result<(), ReadTarError> {
        self.record_bytes += (key.len() + size_of::<Digest>()) as u64;
        if self.record_bytes > MAX_EXTENSION_BYTES {
            return malformed(format!(
                "the keys of the PAX records exceed the limit of {MAX_EXTENSION_BYTES} bytes"
            ));
        }
        self.records.insert(key.to_vec(), Digest::of(value));
        Ok(())
    }
}

/// The key and value of the first record, and the remaining records. A record is `LENGTH key=value\n`,
/// where the length is that of the complete record.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
    let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

fn number(value: &[u8]) -> Result<u64, ReadTarError> {
    match std::str::from_utf8(value).map(str::parse) {
        Ok(Ok(number)) => Ok(number),
        _ => malformed("a PAX record whose value is not a number"),
    }
}

fn whole_seconds(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.split('.').next()?.parse().ok()
}
