//! Reading an image from an archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::index::{Archive, Extent};
use super::names::{BLOBS, CONTAINERD_NAME, DOCKER_MANIFEST};
use crate::digest::{DiffId, Digest, Hashing};
use crate::layout::{INDEX, MARKER};
use crate::oci::{Descriptor, Extra, ImageConfig, Index, Manifest, REF_NAME, StringMap, media_type};
use crate::referrers;
use crate::source::{ImageSource, MAX_LAYERS, SourceError, read_document};
use crate::text::{escape, escape_path};
use crate::unpack::Compression;

/// One image in an archive.
pub struct ArchiveSource {
    name: String,
    file: Arc<File>,
    root: (Descriptor, Vec<u8>),
    blobs: BTreeMap<Digest, Extent>,
    /// Referrers lists by their tags.
    referrers: BTreeMap<String, Descriptor>,
}

impl ArchiveSource {
    /// Opens the archive at `path` and finds an image in it: the one named `reference` (a tag
    /// such as `15`, or a full name such as `docker.io/library/erp:15`), or the only one. If there are
    /// several images and `reference` is `None`, the error lists them.
    ///
    /// Reads the archive's headers and documents, and the compressed layers of a docker archive
    /// completely.
    pub fn open(path: &Path, reference: Option<&str>) -> Result<Self, SourceError> {
        let mut name = format!("docker-archive:{}", escape_path(path));
        if let Some(reference) = reference {
            name.extend([":", &escape(reference)]);
        }
        let archive = Archive::open(path, name)?;
        if archive.find(MARKER).is_some() && archive.find(INDEX).is_some() {
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
        read_document(self, "manifest", descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let extent = self.blobs.get(&descriptor.digest).ok_or_else(|| SourceError::NotFound {
            what: format!("blob {}", descriptor.digest),
            image: self.name.clone(),
        })?;
        Ok(Box::new(extent.reader(&self.file)))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        let list = self.referrers.get(&referrers::tag(subject));
        list.map_or(Ok(Vec::new()), |list| referrers::read(self, list))
    }
}

/// An image in the `manifest.json` of a docker archive.
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
        let index: Index = self.parse("index", &self.document("index", INDEX)?)?;
        let mut images: Vec<(Vec<String>, Descriptor)> = Vec::new();
        let mut referrers = BTreeMap::new();
        for descriptor in index.manifests {
            if let Some(name) = descriptor.annotations.get(REF_NAME).filter(|name| referrers::is_tag(name)) {
                referrers.insert(name.clone(), descriptor);
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
        let (root, blobs) = ((descriptor, manifest), blobs.collect());
        Ok(ArchiveSource { name: self.name, file: self.file, root, blobs, referrers })
    }

    fn into_docker(self, reference: Option<&str>) -> Result<ArchiveSource, SourceError> {
        if self.find(DOCKER_MANIFEST).is_none() {
            return self.invalid("it is neither a docker archive (no manifest.json) nor an OCI layout");
        }
        let saved: Vec<SavedImage> = self.parse("manifest", &self.document("manifest", DOCKER_MANIFEST)?)?;
        let images = saved.into_iter().map(|image| (image.repo_tags.clone().unwrap_or_default(), image));
        let image = self.choose(images.collect(), reference)?;
        let config_bytes = self.document("config", &image.config)?;
        let config = Descriptor::of(media_type::CONFIG, &config_bytes);
        let mut blobs = BTreeMap::from([(config.digest, self.file(&image.config)?)]);
        let layers = self.layers(&image, &self.parse("config", &config_bytes)?, &mut blobs)?;
        let root = self.manifest(config, layers)?;
        Ok(ArchiveSource { name: self.name, file: self.file, root, blobs, referrers: BTreeMap::new() })
    }

    /// The descriptors of a docker archive's layers.
    fn layers(
        &self,
        image: &SavedImage,
        config: &ImageConfig,
        blobs: &mut BTreeMap<Digest, Extent>,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let diff_ids = &config.rootfs.diff_ids;
        let layers = image.layers.len();
        if layers != diff_ids.len() || layers > MAX_LAYERS {
            let reason = format!("it has {layers} layers, its config {} diff ids", diff_ids.len());
            return self.invalid(reason);
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

    /// The image that `reference` names, or the only image.
    fn choose<T>(&self, images: Vec<(Vec<String>, T)>, reference: Option<&str>) -> Result<T, SourceError> {
        let all: Vec<&str> = images.iter().flat_map(|(names, _)| names).map(String::as_str).collect();
        let (all, count) = (escape(&all.join(", ")), images.len());
        let mut matching = images.into_iter().filter(|(names, _)| match reference {
            Some(reference) => names.iter().any(|name| is_named(name, reference)),
            None => true,
        });
        match (matching.next(), matching.next(), reference) {
            (Some((_, image)), None, _) => Ok(image),
            (None, ..) if count == 0 => self.invalid("it contains no image"),
            (None, ..) => self.invalid(format!("it does not contain this image, but: {all}")),
            (Some(_), Some(_), Some(reference)) => {
                self.invalid(format!("`{}` names several of its images: {all}", escape(reference)))
            }
            (Some(_), Some(_), None) => {
                self.invalid(format!("it contains {count} images, so one must be named: {all}"))
            }
        }
    }
}

/// Whether `reference` names the image `name`: by the complete name, by its tag alone, or by the
/// name without the host and repository prefix that Docker adds to short names.
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
    fn matches_full_names_short_names_and_tags() {
        for reference in ["docker.io/demo/build:1", "demo/build:1", "1"] {
            assert!(is_named("docker.io/demo/build:1", reference), "{reference}");
        }
        assert!(is_named("docker.io/library/nginx:1", "nginx:1"));
        for reference in ["build:1", "demo/build", "2", "demo/build:11", ""] {
            assert!(!is_named("docker.io/demo/build:1", reference), "{reference}");
        }
    }
}
