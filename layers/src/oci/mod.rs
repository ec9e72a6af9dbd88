//! The documents of the OCI image-spec: descriptor, manifest, index, config.
//!
//! These are our own types instead of those of a crate, because a document must survive being read and
//! written: unknown members are kept (`extra`), and every map is ordered, so that the same values
//! always serialize to the same bytes.

mod platform;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{DiffId, Digest};

pub use platform::{ParsePlatformError, Platform, PlatformExtra};

/// Annotations and labels.
pub type StringMap = BTreeMap<String, String>;
/// Members that Carafe does not interpret.
pub type Extra = BTreeMap<String, Value>;

/// Media types of the OCI image-spec and of Docker's image manifest v2.2, which registries still hold.
pub mod media_type {
    /// An OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer: tar.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer: tar and gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer: tar and zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer: tar and gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer: tar.
    pub const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// Whether it is a manifest or an index, which registries serve apart from blobs.
    pub fn is_document(media_type: &str) -> bool {
        is_index(media_type) || matches!(media_type, MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether it is an index.
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, INDEX | DOCKER_INDEX)
    }
}

/// The annotation of an index entry that names an image, for example with a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Names a blob by its media type, digest and size in bytes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// One of [`media_type`], or any other.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// The platform of the image, in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Descriptor {
    /// A descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// A descriptor without platform and annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: StringMap::new(),
            extra: Extra::new(),
        }
    }
}

/// A manifest or an index in its exact bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes. Code that reads them from an untrusted source verifies them first.
    pub bytes: Vec<u8>,
}

impl Document {
    /// A document of these bytes.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }
}

/// The sum of the blobs' sizes in bytes. Saturates, because an untrusted document may state any size.
pub fn total_size<'a>(blobs: impl IntoIterator<Item = &'a Descriptor>) -> u64 {
    blobs.into_iter().fold(0, |sum, blob| sum.saturating_add(blob.size))
}

/// An image manifest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::MANIFEST`] or Docker's; older OCI manifests leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image config's descriptor.
    pub config: Descriptor,
    /// Layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An image index: manifests by platform.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`media_type::INDEX`] or Docker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    pub annotations: StringMap,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Index {
    /// An OCI index of these entries.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests,
            annotations: StringMap::new(),
            extra: Extra::new(),
        }
    }
}

/// An image config: how to run the image, and the layers' diff ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `GOARCH`.
    pub architecture: String,
    /// `GOOS`.
    pub os: String,
    /// How to run the image.
    #[serde(default)]
    pub config: RuntimeConfig,
    /// The layers' diff ids.
    pub rootfs: RootFs,
    /// One entry for each layer, and for each step without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ImageConfig {
    /// The image's platform. `variant` and the `os.version` and `os.features` of Windows are optional.
    pub fn platform(&self) -> Platform {
        let member = |name: &str| serde_json::from_value(self.extra.get(name)?.clone()).ok();
        let others = ["os.version", "os.features"];
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.extra.get("variant").and_then(Value::as_str).map(str::to_owned),
            extra: others.iter().filter_map(|name| Some(((*name).to_owned(), member(name)?))).collect(),
        }
    }
}

/// The `config` member of an image config. `Healthcheck`, `Shell`, `OnBuild` and all other members of
/// a base image stay in `extra`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeConfig {
    /// `user[:group]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `NAME=value`, in the order given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command, before [`Self::cmd`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that are volumes, each with an empty object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Value>>,
    /// Ports such as `8000/tcp`, each with an empty object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Value>>,
    /// The working directory of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<StringMap>,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The `rootfs` member of an image config.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Diff ids, the lowest first.
    pub diff_ids: Vec<DiffId>,
}

/// One entry of an image config's history.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command that created the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True for a step that made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_keeps_unknown_members() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Shell":["/bin/bash"],"Healthcheck":{"Test":["NONE"]}},"rootfs":{"type":"layers","diff_ids":[]},"moby.buildkit":"x"}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let value: Value = serde_json::to_value(&config).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn the_total_of_false_sizes_saturates() {
        let blob = |size| Descriptor::new("x", Digest::of(b""), size);
        assert_eq!(total_size(&[blob(1), blob(2)]), 3);
        assert_eq!(total_size(&[blob(u64::MAX), blob(1)]), u64::MAX);
    }
}
