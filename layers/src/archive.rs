//! Images in one tar file: `docker save`'s archive, and an OCI layout in a tar.
//!
//! The archive is not extracted: its index is read once, and blobs are streamed from where they
//! lie. What `docker save` writes since version 25 is both; the OCI layout in it is preferred.
//!
//! A docker archive has no manifest. One is made up: its layers are those of the archive, as
//! they are stored, in the order of its `manifest.json`; a plain tar's digest is its diff id from
//! the config, a compressed one's (kaniko, ko and bazel write those) is computed. The config's
//! bytes are the archive's own, so the config digest is the image id that Docker shows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::{DiffId, Digest, Hashing};
use crate::layout::REF_NAME;
use crate::oci::{Descriptor, Extra, ImageConfig, Index, Manifest, StringMap, media_type};
use crate::path::printable;
use crate::source::{ImageSource, MAX_DOCUMENT_BYTES, MAX_LAYERS, SourceError};
use crate::unpack::Compression;
use crate::untar::{Kind, Member, ReadTarError, TarReader};

/// An archive may have this many members. An image of 127 layers takes about 400.
pub const MAX_ARCHIVE_MEMBERS: usize = 100_000;

/// Links followed from one member's name (old Docker versions link equal layers).
const MAX_LINKS: usize = 8;

const BLOBS: &str = "blobs/sha256/";

/// The annotation in which Docker and containerd keep an image's full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// One image in a tar file.
pub struct ArchiveSource {
    name: String,
    file: Arc<File>,
    root: (Descriptor, Vec<u8>),
    blobs: BTreeMap<Digest, Extent>,
}

impl ArchiveSource {
    /// Opens the archive at `path` and finds an image in it: the one named `reference` (a tag
    /// such as `15`, or a full name such as `docker.io/library/erp:15`), or the only one. Fails
    /// when there are several and none is named, listing them.
    ///
    /// Reads the archive's headers and documents, and the whole of those layers of a docker
    /// archive that are compressed.
    pub fn open(path: &Path, reference: Option<&str>) -> Result<Self, SourceError> {
        let name = match reference {
            Some(reference) => format!("docker-archive:{}:{reference}", path.display()),
            None => format!("docker-archive:{}", path.display()),
        };
        let archive = Archive::open(path, name)?;
        if archive.find("oci-layout").is_some() && archive.find("index.json").is_some() {
            archive.into_oci(reference)
        } else {
            archive.into_docker(reference)
        }
    }
}

impl ImageSource for ArchiveSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        crate::source::read_document(self, "manifest", descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let extent = self.blobs.get(&descriptor.digest).ok_or_else(|| SourceError::NotFound {
            what: format!("blob {}", descriptor.digest),
            image: self.name.clone(),
        })?;
        Ok(Box::new(extent.reader(&self.file)))
    }
}

/// Where a member's content lies in the archive, in bytes.
#[derive(Clone, Copy)]
struct Extent {
    offset: u64,
    size: u64,
}

impl Extent {
    fn reader(self, file: &Arc<File>) -> ExtentReader {
        ExtentReader { file: Arc::clone(file), extent: self }
    }
}

/// Reads a part of a file, without moving what other readers of the file see.
struct ExtentReader {
    file: Arc<File>,
    extent: Extent,
}

impl Read for ExtentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.extent.size).map_or(buffer.len(), |size| size.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..wanted], self.extent.offset)?;
        self.extent.offset += read as u64;
        self.extent.size -= read as u64;
        Ok(read)
    }
}

enum Entry {
    File(Extent),
    /// The name that a link leads to.
    Link(String),
}

/// `manifest.json` of a docker archive: one of these for each image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An archive's index.
struct Archive {
    path: String,
    name: String,
    file: Arc<File>,
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    fn open(path: &Path, name: String) -> Result<Self, SourceError> {
        let path_shown = path.display().to_string();
        let failed = |source| SourceError::Io { path: path_shown.clone(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut archive = Self {
            path: path.display().to_string(),
            name,
            file: Arc::new(file.try_clone().map_err(failed)?),
            entries: BTreeMap::new(),
        };
        archive.refuse_compressed()?;
        let mut tar = TarReader::seeking(BufReader::new(file));
        while let Some(member) = tar.next_member().map_err(|error| archive.tar_error(error))? {
            archive.add(member, length)?;
        }
        Ok(archive)
    }

    fn refuse_compressed(&self) -> Result<(), SourceError> {
        let mut beginning = Vec::new();
        let reader = Extent { offset: 0, size: 4 }.reader(&self.file);
        reader.take(4).read_to_end(&mut beginning).map_err(|error| self.io_error(error))?;
        match Compression::sniff(&beginning) {
            Compression::None => Ok(()),
            other => self.invalid(format!("it is compressed ({other:?}); decompress the file first")),
        }
    }

    fn add(&mut self, member: Member, length: u64) -> Result<(), SourceError> {
        let Ok(name) = str::from_utf8(&member.name) else { return Ok(()) };
        let entry = match member.kind {
            Kind::File if member.offset + member.size > length => {
                return self.invalid(format!("`{name}` is cut off by the archive's end"));
            }
            Kind::File => Entry::File(Extent { offset: member.offset, size: member.size }),
            Kind::HardLink => Entry::Link(resolve("", &String::from_utf8_lossy(&member.link))),
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                Entry::Link(resolve(folder, &String::from_utf8_lossy(&member.link)))
            }
            _ => return Ok(()),
        };
        if self.entries.len() == MAX_ARCHIVE_MEMBERS {
            return self.invalid(format!("it has more than {MAX_ARCHIVE_MEMBERS} members"));
        }
        if self.entries.insert(resolve("", name), entry).is_some() {
            return self.invalid(format!("it has two members named `{name}`"));
        }
        Ok(())
    }

    /// The file of this name, through links.
    fn find(&self, name: &str) -> Option<Extent> {
        let mut name = resolve("", name);
        for _ in 0..=MAX_LINKS {
            match self.entries.get(&name)? {
                Entry::File(extent) => return Some(*extent),
                Entry::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    fn file(&self, name: &str) -> Result<Extent, SourceError> {
        self.find(name).ok_or_else(|| SourceError::NotFound {
            what: format!("`{}`", printable(name.as_bytes())),
            image: self.name.clone(),
        })
    }

    /// A small member's whole content.
    fn document(&self, what: &'static str, name: &str) -> Result<Vec<u8>, SourceError> {
        let extent = self.file(name)?;
        if extent.size > MAX_DOCUMENT_BYTES {
            let (image, size, limit) = (self.name.clone(), extent.size, MAX_DOCUMENT_BYTES);
            return Err(SourceError::TooLarge { what, image, size, limit });
        }
        let mut bytes = Vec::new();
        extent.reader(&self.file).read_to_end(&mut bytes).map_err(|error| self.io_error(error))?;
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, what: &'static str, bytes: &[u8]) -> Result<T, SourceError> {
        serde_json::from_slice(bytes).map_err(|source| SourceError::Parse {
            what,
            image: self.name.clone(),
            source,
        })
    }

    fn into_oci(self, reference: Option<&str>) -> Result<ArchiveSource, SourceError> {
        let index: Index = self.parse("index", &self.document("index", "index.json")?)?;
        let mut images: Vec<(Vec<String>, Descriptor)> = Vec::new();
        for descriptor in index.manifests {
            let names = [CONTAINERD_NAME, REF_NAME]
                .iter()
                .filter_map(|key| descriptor.annotations.get(*key).cloned());
            match images.iter_mut().find(|(_, image)| image.digest == descriptor.digest) {
                Some((known, _)) => known.extend(names),
                None => images.push((names.collect(), descriptor)),
            }
        }
        let descriptor = self.choose(images, reference)?;
        let manifest = self.document("manifest", &format!("{BLOBS}{}", descriptor.digest.hex()))?;
        let blobs = self.entries.keys().filter_map(|name| {
            let digest = format!("sha256:{}", name.strip_prefix(BLOBS)?).parse().ok()?;
            Some((digest, self.find(name)?))
        });
        let blobs = blobs.collect();
        Ok(ArchiveSource { name: self.name, file: self.file, root: (descriptor, manifest), blobs })
    }

    fn into_docker(self, reference: Option<&str>) -> Result<ArchiveSource, SourceError> {
        if self.find("manifest.json").is_none() {
            return self.invalid("it is neither a docker archive (no manifest.json) nor an OCI layout");
        }
        let saved: Vec<SavedImage> = self.parse("manifest", &self.document("manifest", "manifest.json")?)?;
        let images = saved.into_iter().map(|image| (image.repo_tags.clone().unwrap_or_default(), image));
        let image = self.choose(images.collect(), reference)?;
        let config_bytes = self.document("config", &image.config)?;
        let config = Descriptor::of(media_type::CONFIG, &config_bytes);
        let mut blobs = BTreeMap::from([(config.digest, self.file(&image.config)?)]);
        let layers = self.layers(&image, &self.parse("config", &config_bytes)?, &mut blobs)?;
        let root = self.manifest(config, layers)?;
        Ok(ArchiveSource { name: self.name, file: self.file, root, blobs })
    }

    /// The descriptors of a docker archive's layers.
    fn layers(
        &self,
        image: &SavedImage,
        config: &ImageConfig,
        blobs: &mut BTreeMap<Digest, Extent>,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let diff_ids = &config.rootfs.diff_ids;
        let (layers, wanted) = (image.layers.len(), diff_ids.len());
        if layers != wanted || layers > MAX_LAYERS {
            return self.invalid(format!("it has {layers} layers, and its config {wanted} diff ids"));
        }
        let mut descriptors = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(diff_ids) {
            let extent = self.file(name)?;
            let descriptor = self.layer(extent, *diff_id)?;
            blobs.insert(descriptor.digest, extent);
            descriptors.push(descriptor);
        }
        Ok(descriptors)
    }

    fn layer(&self, extent: Extent, diff_id: DiffId) -> Result<Descriptor, SourceError> {
        let mut beginning = Vec::new();
        let reader = extent.reader(&self.file);
        reader.take(4).read_to_end(&mut beginning).map_err(|error| self.io_error(error))?;
        let compression = Compression::sniff(&beginning);
        let digest = match compression {
            Compression::None => diff_id.0,
            _ => self.hash(extent)?,
        };
        Ok(Descriptor::new(compression.media_type(), digest, extent.size))
    }

    fn hash(&self, extent: Extent) -> Result<Digest, SourceError> {
        let mut reader = Hashing::new(extent.reader(&self.file));
        io::copy(&mut reader, &mut io::sink()).map_err(|error| self.io_error(error))?;
        Ok(reader.finish().1)
    }

    fn manifest(
        &self,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<(Descriptor, Vec<u8>), SourceError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config,
            layers,
            annotations: StringMap::new(),
            extra: Extra::new(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|source| SourceError::Parse {
            what: "manifest",
            image: self.name.clone(),
            source,
        })?;
        Ok((Descriptor::of(media_type::MANIFEST, &bytes), bytes))
    }

    /// The image that `reference` names, or the only one.
    fn choose<T>(&self, images: Vec<(Vec<String>, T)>, reference: Option<&str>) -> Result<T, SourceError> {
        let all: Vec<&str> = images.iter().flat_map(|(names, _)| names).map(String::as_str).collect();
        let (all, count) = (printable(all.join(", ").as_bytes()), images.len());
        let mut matching = images.into_iter().filter(|(names, _)| match reference {
            Some(reference) => names.iter().any(|name| is_named(name, reference)),
            None => true,
        });
        match (matching.next(), matching.next(), reference) {
            (Some((_, image)), None, _) => Ok(image),
            (None, ..) => self.invalid(format!("no such image; there is: {all}")),
            (Some(_), Some(_), Some(reference)) => {
                self.invalid(format!("`{reference}` names several of its images: {all}"))
            }
            (Some(_), Some(_), None) => {
                self.invalid(format!("it holds {count} images, and one must be named: {all}"))
            }
        }
    }

    fn invalid<T>(&self, reason: impl Into<String>) -> Result<T, SourceError> {
        let reason = printable(reason.into().as_bytes());
        Err(SourceError::Invalid { image: self.name.clone(), reason })
    }

    fn io_error(&self, source: io::Error) -> SourceError {
        SourceError::Io { path: self.path.clone(), source }
    }

    fn tar_error(&self, error: ReadTarError) -> SourceError {
        match error {
            ReadTarError::Io(error) => self.io_error(error),
            ReadTarError::Malformed(reason) => {
                SourceError::Invalid { image: self.name.clone(), reason: format!("as a tar: {reason}") }
            }
        }
    }
}

/// Whether an image of this name is meant by `reference`: all of it, or its tag alone.
fn is_named(name: &str, reference: &str) -> bool {
    let tag_alone = !reference.contains([':', '/']);
    name == reference || tag_alone && name.rsplit_once(':').is_some_and(|(_, tag)| tag == reference)
}

/// A member's name as seen from `folder`: without `.`, `..` and leading slashes; above the
/// archive's root is the root.
fn resolve(folder: &str, name: &str) -> String {
    let folder = if name.starts_with('/') { "" } else { folder };
    let mut names: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(part),
        }
    }
    names.join("/")
}
