//! Sources of images, and reading from them with verification.

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::oci::{Descriptor, Extra, ImageConfig, Index, Manifest, Platform, media_type};

/// Maximum size of a manifest, index or config in bytes (registries have the same limit of 4 MiB).
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// Maximum number of layers of an image (the limit of overlayfs and Docker).
pub const MAX_LAYERS: usize = 127;

/// A source of one image or index: an OCI layout, a docker archive, a registry.
///
/// Implementations do not have to verify: [`resolve`] and [`read_document`] return verified bytes,
/// and callers that stream a blob wrap it in a [`crate::verified::VerifiedReader`].
pub trait ImageSource: Send + Sync {
    /// The name for messages: `registry.example.com/erp:15`, `oci:directory:tag`. Contains no
    /// credentials.
    fn name(&self) -> String;

    /// The manifest or index that this source names: its descriptor and its bytes.
    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError>;

    /// A manifest named by an index. Registries serve it from another endpoint than blobs.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError>;

    /// A blob's bytes, compressed as they are stored, as a stream.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError>;

    /// The manifests that refer to `subject` (signatures, SBOMs). Empty unless the source stores
    /// referrers.
    fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        Ok(Vec::new())
    }
}

/// An image whose documents match their digests and each other.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// The descriptor that the source's name resolves to: that of an index or a manifest.
    pub root: Descriptor,
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes, exactly as stored.
    pub manifest_bytes: Vec<u8>,
    /// The config.
    pub config: ImageConfig,
    /// The config's bytes, exactly as stored.
    pub config_bytes: Vec<u8>,
}

impl ResolvedImage {
    /// The platform in its config.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SourceError {
    /// The bytes do not have the digest that names them.
    #[error("failed to verify {what} of {image}: expected {wanted}, got {got}")]
    #[diagnostic(help("the copy is damaged or was modified; copy it again from its origin"))]
    DigestMismatch {
        /// `manifest`, `config`, `layer`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The digest in the descriptor.
        wanted: Digest,
        /// The digest of the bytes that were read.
        got: Digest,
    },
    /// The bytes do not have the length that their descriptor states.
    #[error("failed to verify {what} {digest} of {image}: expected {wanted} bytes, got {got}")]
    #[diagnostic(help("the copy is damaged or was modified; copy it again from its origin"))]
    SizeMismatch {
        /// `manifest`, `config`, `layer`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The blob's digest.
        digest: Digest,
        /// The length in the descriptor.
        wanted: u64,
        /// The number of bytes that were read.
        got: u64,
    },
    /// A document is over [`MAX_DOCUMENT_BYTES`], or an image over [`MAX_LAYERS`].
    #[error("failed to read {what} of {image}: {size} exceeds the limit of {limit}")]
    #[diagnostic(help("registries and runtimes reject such an image too; check the tool that created it"))]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The source's name.
        image: String,
        /// How large it is.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A document is not of its media type.
    #[error("failed to parse {what} of {image}")]
    #[diagnostic(help("the copy is damaged or was modified; copy it again from its origin"))]
    Parse {
        /// `manifest`, `index`, `config`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// The documents contradict each other or the specification.
    #[error("failed to read {image}: {reason}")]
    #[diagnostic(help("check the image's name; if the copy is damaged, copy it again from its origin"))]
    Invalid {
        /// The source's name.
        image: String,
        /// The contradiction.
        reason: String,
    },
    /// An index without a manifest for the wanted platform.
    #[error("failed to find {platform} in {image}: available platforms are {available}")]
    #[diagnostic(help(
        "use an image that supports this platform, or build on a machine of another architecture"
    ))]
    NoPlatform {
        /// The source's name.
        image: String,
        /// The wanted platform.
        platform: Box<Platform>,
        /// The platforms of the index, separated by commas.
        available: String,
    },
    /// The source has nothing of that name or digest.
    #[error("failed to find {what} in {image}")]
    NotFound {
        /// The missing object.
        what: String,
        /// The source's name.
        image: String,
    },
    /// A file could not be read.
    #[error("failed to read `{path}`")]
    #[diagnostic(help(
        "check the path and its permissions: `oci:` requires a directory with an index.json, `docker-archive:` and `oci-archive:` a file"
    ))]
    Io {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The transport failed (a registry, from another crate).
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(Box<dyn miette::Diagnostic + Send + Sync>),
}

/// Reads an image's documents for `platform` and verifies them: each against its digest and
/// size, the number of layers against the number of diff ids, all within the limits above. Rejects a
/// document that is both a manifest and an index.
pub fn resolve(source: &dyn ImageSource, platform: &Platform) -> Result<ResolvedImage, SourceError> {
    let (root, bytes) = source.root()?;
    check(source, "manifest", &root, &bytes)?;
    let (descriptor, manifest_bytes) = match media_type::is_index(&root.media_type) {
        true => {
            let index: Index = parse(source, "index", &bytes)?;
            check_unambiguous(source, &root, &index.extra, &["config", "layers"])?;
            let chosen = choose(source, index, platform)?;
            let bytes = source.manifest(&chosen)?;
            check(source, "manifest", &chosen, &bytes)?;
            (chosen, bytes)
        }
        false => (root.clone(), bytes),
    };
    let manifest: Manifest = parse(source, "manifest", &manifest_bytes)?;
    check_unambiguous(source, &descriptor, &manifest.extra, &["manifests"])?;
    let config_bytes = read_document(source, "config", &manifest.config)?;
    let config: ImageConfig = parse(source, "config", &config_bytes)?;
    check_layers(source, &manifest, &config, MAX_LAYERS)?;
    Ok(ResolvedImage { root, descriptor, manifest, manifest_bytes, config, config_bytes })
}

/// Reads a blob of at most [`MAX_DOCUMENT_BYTES`] into memory and verifies it. `what` names it in
/// messages.
pub fn read_document(
    source: &dyn ImageSource,
    what: &'static str,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, SourceError> {
    check_size(source, what, descriptor.size)?;
    let mut bytes = Vec::new();
    source
        .blob(descriptor)?
        .take(descriptor.size + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| SourceError::Io { path: format!("{} {what}", source.name()), source: error })?;
    check(source, what, descriptor, &bytes)?;
    Ok(bytes)
}

/// Rejects a document that has `members` of the other document type: the media type is not part of
/// the bytes, so one reader would parse it as a manifest and another as an index.
fn check_unambiguous(
    source: &dyn ImageSource,
    document: &Descriptor,
    extra: &Extra,
    members: &[&str],
) -> Result<(), SourceError> {
    match members.iter().any(|member| extra.get(*member).is_some_and(|value| !value.is_null())) {
        true => Err(ambiguous(source, document)),
        false => Ok(()),
    }
}

/// The error for a document that is both a manifest and an index.
pub(crate) fn ambiguous(source: &dyn ImageSource, document: &Descriptor) -> SourceError {
    let reason = format!("{} is both a manifest and an index", document.digest);
    SourceError::Invalid { image: source.name(), reason }
}

fn choose(source: &dyn ImageSource, index: Index, wanted: &Platform) -> Result<Descriptor, SourceError> {
    let platforms: Vec<String> =
        index.manifests.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
    index
        .manifests
        .into_iter()
        .find(|entry| entry.platform.as_ref().is_some_and(|platform| platform.satisfies(wanted)))
        .ok_or_else(|| SourceError::NoPlatform {
            image: source.name(),
            platform: Box::new(wanted.clone()),
            available: platforms.join(", "),
        })
}

/// Checks that there are at most `max_layers` layers, and one diff id for each.
pub(crate) fn check_layers(
    source: &dyn ImageSource,
    manifest: &Manifest,
    config: &ImageConfig,
    max_layers: usize,
) -> Result<(), SourceError> {
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers > max_layers {
        let (size, limit) = (layers as u64, max_layers as u64);
        return Err(SourceError::TooLarge { what: "layers", image: source.name(), size, limit });
    }
    if layers != diff_ids {
        let reason = format!("the manifest has {layers} layers, the config {diff_ids} diff ids");
        return Err(SourceError::Invalid { image: source.name(), reason });
    }
    Ok(())
}

pub(crate) fn parse<T: DeserializeOwned>(
    source: &dyn ImageSource,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, SourceError> {
    serde_json::from_slice(bytes).map_err(|error| SourceError::Parse {
        what,
        image: source.name(),
        source: error,
    })
}

fn check_size(source: &dyn ImageSource, what: &'static str, size: u64) -> Result<(), SourceError> {
    if size > MAX_DOCUMENT_BYTES {
        return Err(SourceError::TooLarge { what, image: source.name(), size, limit: MAX_DOCUMENT_BYTES });
    }
    Ok(())
}

pub(crate) fn check(
    source: &dyn ImageSource,
    what: &'static str,
    wanted: &Descriptor,
    bytes: &[u8],
) -> Result<(), SourceError> {
    check_size(source, what, bytes.len() as u64)?;
    if bytes.len() as u64 != wanted.size {
        return Err(SourceError::SizeMismatch {
            what,
            image: source.name(),
            digest: wanted.digest,
            wanted: wanted.size,
            got: bytes.len() as u64,
        });
    }
    let got = Digest::of(bytes);
    if got != wanted.digest {
        return Err(SourceError::DigestMismatch { what, image: source.name(), wanted: wanted.digest, got });
    }
    Ok(())
}
