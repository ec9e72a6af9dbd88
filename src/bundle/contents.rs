//! The description of a bundle, and the media types of its parts.

use std::collections::BTreeMap;

use carafe_builder::git::CommitId;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use serde::{Deserialize, Serialize};

/// The artifact type of a bundle's index.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.carafe.bundle.v1";
/// The artifact type of the manifest that lists everything that is not an image.
pub(super) const CONTENTS_TYPE: &str = "application/vnd.dev.carafe.bundle.contents.v1";
/// The media type of that manifest's config, [`Contents`].
pub(super) const CONTENTS_CONFIG: &str = "application/vnd.dev.carafe.bundle.contents.v1+json";
/// The lock: the text of carafe.lock.
pub(super) const LOCK: &str = "application/vnd.dev.carafe.lock.v1+toml";
/// The recording: the text of carafe.record.
pub(super) const RECORDING: &str = "application/vnd.dev.carafe.record.v1+json-seq";
/// A commit: a gzip-compressed git pack.
pub(super) const COMMIT: &str = "application/vnd.dev.carafe.commit.v1.pack+gzip";
/// The index of an image, if the lock names an index. It is stored as a blob: the bundle contains only
/// the image for its platform, and registries reject an index whose images are missing.
pub(super) const IMAGE_INDEX: &str = "application/vnd.dev.carafe.image-index.v1+json";
/// The body of a recorded response, as the clients received it.
pub(super) const BODY: &str = "application/octet-stream";

/// An annotation in a layout's `index.json` on the descriptor of a delta bundle: the digest of the
/// bundle that has the missing blobs.
pub(super) const DELTA_BASE: &str = "dev.carafe.bundle.delta-from";

/// [`Contents::version`].
pub(super) const VERSION: u32 = 1;
/// The maximum size of [`Contents`], in bytes. A lock has a few dozen apps.
pub(super) const MAX_CONTENTS_BYTES: u64 = 1 << 20;

/// The description of a bundle: which blob has which role. Response bodies are not listed; the
/// recording names them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The version of this format.
    pub version: u32,
    /// The lock.
    pub lock: Digest,
    /// The recording, which the lock names too.
    pub record: Digest,
    /// The pack of each commit of the lock.
    pub commits: BTreeMap<CommitId, Digest>,
    /// The images of the lock, by the digest in the lock.
    pub images: BTreeMap<Digest, ImageEntry>,
}

/// An image in a bundle.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// The descriptor that the lock names: an index, stored as a blob, or the manifest itself.
    pub root: Descriptor,
    /// The manifest for the bundle's platform.
    pub manifest: Descriptor,
}
