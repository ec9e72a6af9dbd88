//! Builds images entry by entry, also invalid ones.
#![allow(dead_code)] // each test binary uses a part

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carafe_layers::digest::{DiffId, Digest};
use carafe_layers::oci::{Descriptor, ImageConfig, Manifest, Platform, media_type};
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};
use carafe_layers::unpack::{UnpackError, UnpackLimits, UnpackStats, unpack_image};
use serde_json::json;
use tar::{EntryType, Header};

/// A tar that is being built. Names, links and types are written without checks.
#[derive(Default, Clone)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn entry(mut self, kind: EntryType, name: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Self {
        if name.len() > 100 {
            self = self.extension(EntryType::GNULongName, name);
        }
        if link.len() > 100 {
            self = self.extension(EntryType::GNULongLink, link);
        }
        let mut header = Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        raw.linkname[..link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        self.header(header).content(content)
    }

    pub fn header(mut self, mut header: Header) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn extension(self, kind: EntryType, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        self.header(header).content(content)
    }

    pub fn pax(self, key: &str, value: &[u8]) -> Self {
        let rest = key.len() + value.len() + 3;
        let digits = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
        let mut record = format!("{} {key}=", rest + digits).into_bytes();
        record.extend_from_slice(value);
        record.push(b'\n');
        self.extension(EntryType::XHeader, &record)
    }

    /// All of another tar's entries.
    pub fn raw(mut self, other: &Tar) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", 0o644, content.as_bytes())
    }

    pub fn dir(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    /// The bytes, with the two empty blocks at the end.
    pub fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// The bytes without an end mark.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame of one raw block, with skippable frames around it, as zstd:chunked writes them.
pub fn zstd(tar: &[u8]) -> Vec<u8> {
    let mut stream = b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec();
    stream.extend_from_slice(b"\x28\xb5\x2f\xfd\xa0");
    stream.extend_from_slice(&u32::try_from(tar.len()).unwrap().to_le_bytes());
    let header = u32::try_from(tar.len() << 3 | 1).unwrap().to_le_bytes();
    stream.extend_from_slice(&header[..3]);
    stream.extend_from_slice(tar);
    stream.extend_from_slice(b"\x51\x2a\x4d\x18\0\0\0\0");
    stream
}

/// An image in memory.
pub struct Memory {
    root: (Descriptor, Vec<u8>),
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Memory {
    /// An image with uncompressed layers.
    pub fn of(layers: &[Tar]) -> Self {
        let tars = layers.iter().map(|tar| (media_type::LAYER_TAR, tar.clone().bytes()));
        Self::stored(tars.map(|(kind, tar)| (kind, tar.clone(), Digest::of(&tar))).collect())
    }

    /// An image of these blobs: each with its media type and its diff id in the config.
    pub fn stored(layers: Vec<(&str, Vec<u8>, Digest)>) -> Self {
        let diff_ids: Vec<DiffId> = layers.iter().map(|(_, _, diff_id)| DiffId(*diff_id)).collect();
        let host = Platform::host();
        let config: ImageConfig = serde_json::from_value(json!({
            "architecture": host.architecture, "os": host.os,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }))
        .unwrap();
        let mut blobs = BTreeMap::new();
        let mut add = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = Descriptor::of(media_type, &bytes);
            blobs.insert(descriptor.digest, bytes);
            descriptor
        };
        let config = add(media_type::CONFIG, serde_json::to_vec(&config).unwrap());
        let layers: Vec<Descriptor> =
            layers.into_iter().map(|(media_type, bytes, _)| add(media_type, bytes)).collect();
        let manifest: Manifest =
            serde_json::from_value(json!({"schemaVersion": 2, "config": config, "layers": layers})).unwrap();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        Self { root: (Descriptor::of(media_type::MANIFEST, &bytes), bytes), blobs }
    }

    /// Adds a member to the manifest, and changes the media type of its descriptor.
    pub fn with_member(mut self, name: &str, value: serde_json::Value, media_type: &str) -> Self {
        let mut manifest: serde_json::Value = serde_json::from_slice(&self.root.1).unwrap();
        manifest[name] = value;
        let bytes = serde_json::to_vec(&manifest).unwrap();
        self.root = (Descriptor::of(media_type, &bytes), bytes);
        self
    }

    pub fn resolve(&self) -> ResolvedImage {
        resolve(self, &Platform::host()).unwrap()
    }

    pub fn unpack(&self, root: &Path) -> Result<UnpackStats, UnpackError> {
        self.unpack_within(root, &UnpackLimits::default())
    }

    pub fn unpack_within(&self, root: &Path, limits: &UnpackLimits) -> Result<UnpackStats, UnpackError> {
        unpack_image(self, &self.resolve(), root, limits, &|_| ())
    }
}

impl ImageSource for Memory {
    fn name(&self) -> String {
        "memory".into()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, _: &Descriptor) -> Result<Vec<u8>, SourceError> {
        Ok(self.root.1.clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        Ok(Box::new(io::Cursor::new(self.blobs[&descriptor.digest].clone())))
    }
}

/// A tree as one line per entry: path, kind and mode, content or target.
pub fn listing(root: &Path) -> String {
    let mut lines = Vec::new();
    list(root, root, &mut lines);
    lines.sort();
    lines.join("\n")
}

fn list(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            lines.push(format!("{name}/ {mode:o}"));
            list(root, &path, lines);
        } else if metadata.is_symlink() {
            lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            let line = format!("{name} {mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()));
            lines.push(line.trim_end().to_owned());
        }
    }
}
