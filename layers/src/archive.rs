//! Images in one tar file, read and written: `docker save`'s archive, and an OCI layout in a tar.
//!
//! The archive is not extracted: its index is read once, and blobs are streamed from where they
//! lie. What `docker save` writes since version 25 is both; the OCI layout in it is preferred.
//!
//! A docker archive has no manifest. One is made up: its layers are those of the archive, as
//! they are stored, in the order of its `manifest.json`; a plain tar's digest is its diff id from
//! the config, a compressed one's (kaniko, ko and bazel write those) is computed. The config's
//! bytes are the archive's own, so the config digest is the image id that Docker shows.

mod file;
mod index;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::digest::{DiffId, Digest, Hashing};
use crate::layout::REF_NAME;
use crate::oci::{Descriptor, Extra, ImageConfig, Index, Manifest, StringMap, media_type};
use crate::path::printable;
use crate::referrers;
use crate::source::{ImageSource, MAX_LAYERS, SourceError};
use crate::unpack::Compression;

pub use file::{ArchiveFile, DockerName};
pub use index::MAX_ARCHIVE_MEMBERS;
use index::{Archive, Extent};
pub use writer::ArchiveWriter;

const BLOBS: &str = "blobs/sha256/";

/// The annotation in which Docker and containerd keep an image's full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// One image in a tar file.
pub struct ArchiveSource {
    name: String,
    file: Arc<File>,
    root: (Descriptor, Vec<u8>),
    blobs: BTreeMap<Digest, Extent>,
    /// Lists of referrers, by their tags.
    lists: BTreeMap<String, Descriptor>,
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

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        let list = self.lists.get(&referrers::tag(subject));
        list.map_or(Ok(Vec::new()), |list| referrers::read(self, list))
    }
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

impl Archive {
    fn into_oci(self, reference: Option<&str>) -> Result<ArchiveSource, SourceError> {
        let index: Index = self.parse("index", &self.document("index", "index.json")?)?;
        let mut images: Vec<(Vec<String>, Descriptor)> = Vec::new();
        let mut lists = BTreeMap::new();
        for descriptor in index.manifests {
            if let Some(name) = descriptor.annotations.get(REF_NAME).filter(|name| referrers::is_tag(name)) {
                lists.insert(name.clone(), descriptor);
                continue;
            }
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
        let blobs = self.names().filter_map(|name| {
            let digest = format!("sha256:{}", name.strip_prefix(BLOBS)?).parse().ok()?;
            Some((digest, self.find(name)?))
        });
        let blobs = blobs.collect();
        Ok(ArchiveSource { name: self.name, file: self.file, root: (descriptor, manifest), blobs, lists })
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
        Ok(ArchiveSource { name: self.name, file: self.file, root, blobs, lists: BTreeMap::new() })
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
        let compression = self.compression(extent)?;
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
}

/// Whether an image of this name is meant by `reference`: all of it, its tag alone, or the name
/// without what Docker puts before short ones.
fn is_named(name: &str, reference: &str) -> bool {
    let short = |name: &str| -> String {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        name.strip_prefix("library/").unwrap_or(name).to_owned()
    };
    let tag = name.rsplit_once(':').map(|(_, tag)| tag);
    short(name) == short(reference) || tag == Some(reference)
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn an_image_has_several_names() {
        for reference in ["docker.io/demo/build:1", "demo/build:1", "1"] {
            assert!(is_named("docker.io/demo/build:1", reference), "{reference}");
        }
        assert!(is_named("docker.io/library/nginx:1", "nginx:1"));
        for reference in ["build:1", "demo/build", "2", "demo/build:11", ""] {
            assert!(!is_named("docker.io/demo/build:1", reference), "{reference}");
        }
    }
}
