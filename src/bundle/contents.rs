//! What a bundle says about itself, and the media types of its parts.

use std::collections::BTreeMap;

use carafe_builder::git::CommitId;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use serde::{Deserialize, Serialize};

/// The artifact type of a bundle's index.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.carafe.bundle.v1";
/// The artifact type of the manifest in it that lists what is no image.
pub(super) const CONTENTS_TYPE: &str = "application/vnd.dev.carafe.bundle.contents.v1";
/// Its config: [`Contents`].
pub(super) const CONTENTS_CONFIG: &str = "application/vnd.dev.carafe.bundle.contents.v1+json";
/// The lock, as in carafe.lock.
pub(super) const LOCK: &str = "application/vnd.dev.carafe.lock.v1+toml";
/// The record, as in carafe.record.
pub(super) const RECORD: &str = "application/vnd.dev.carafe.record.v1+json-seq";
/// A commit: a git pack, gzipped.
pub(super) const COMMIT: &str = "application/vnd.dev.carafe.commit.v1.pack+gzip";
/// An image's index, where the lock names one. It is a blob here: of its images a bundle has the
/// one for its platform, and registries refuse indexes whose images are not there.
pub(super) const IMAGE_INDEX: &str = "application/vnd.dev.carafe.image-index.v1+json";
/// The body of a recorded answer, as clients got it.
pub(super) const BODY: &str = "application/octet-stream";

/// In a layout's `index.json`, on the descriptor of a bundle some of whose blobs are missing: the
/// digest of the bundle that has them.
pub(super) const DELTA_BASE: &str = "dev.carafe.bundle.delta-from";

/// [`Contents::version`].
pub(super) const VERSION: u32 = 1;
/// Bytes of the largest contents. A lock has a few dozen apps.
pub(super) const MAX_CONTENTS_BYTES: u64 = 1 << 20;

/// The description of a bundle: which of its blobs is what. The bodies are not in it; the record
/// names them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Of this form.
    pub version: u32,
    /// The lock.
    pub lock: Digest,
    /// The record of the network, which the lock names too.
    pub record: Digest,
    /// The pack of each commit of the lock.
    pub commits: BTreeMap<CommitId, Digest>,
    /// The images of the lock, by the digest that the lock names.
    pub images: BTreeMap<Digest, ImageEntry>,
}

/// An image in a bundle.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// What the lock names: an index, which is a blob of the bundle, or the manifest itself.
    pub root: Descriptor,
    /// The manifest for the bundle's platform.
    pub manifest: Descriptor,
}
