//! Somewhere an image can be read from, and the verified way to read it.

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::oci::{Descriptor, Extra, ImageConfig, Index, Manifest, Platform, media_type};

/// A manifest, index or config larger than this is refused (registries' own limit is 4 MiB).
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// An image may have at most this many layers (overlayfs and Docker stop at 127).
pub const MAX_LAYERS: usize = 127;

/// Where an image can be read from: an OCI layout, a docker archive, a registry.
///
/// Implementations do not have to verify: whoever reads through [`resolve`] or
/// [`read_document`] gets verified bytes, and whoever streams a blob verifies it with
/// [`crate::digest::Hashing`] against its descriptor.
pub trait ImageSource: Send + Sync {
    /// For messages: `registry.example.com/erp:15`, `oci:folder:tag`. Never has credentials.
    fn name(&self) -> String;

    /// The manifest or index that this source stands for: its descriptor and its bytes.
    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError>;

    /// A manifest named by an index. A registry has another endpoint for it than for blobs.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError>;

    /// A blob's bytes, compressed as they are stored, as a stream.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError>;

    /// The manifests that refer to `subject` (signatures, SBOMs), as far as this source knows:
    /// none, unless it keeps track of them.
    fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        Ok(Vec::new())
    }
}

/// An image whose documents were read and agree with their digests and with each other.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// What the source's name points at: the index's descriptor, or the manifest's.
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
    /// What it is for, by its own config.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SourceError {
    /// The bytes do not have the digest that names them.
    #[error("failed to verify {what} of {image}: wanted {wanted}, got {got}")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    DigestMismatch {
        /// `manifest`, `config`, `layer`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The digest asked for.
        wanted: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// The bytes do not have the length that their descriptor states.
    #[error("failed to verify {what} {digest} of {image}: wanted {wanted} bytes, got {got}")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    SizeMismatch {
        /// `manifest`, `config`, `layer`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The blob's digest.
        digest: Digest,
        /// The length in the descriptor.
        wanted: u64,
        /// The length of what came.
        got: u64,
    },
    /// A document is over [`MAX_DOCUMENT_BYTES`], or an image over [`MAX_LAYERS`].
    #[error("failed to read {what} of {image}: {size} is over the limit of {limit}")]
    #[diagnostic(help("registries and runtimes take no such image either; look at what made it"))]
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
    /// A document is not what its media type says.
    #[error("failed to parse {what} of {image}")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    Parse {
        /// `manifest`, `index`, `config`.
        what: &'static str,
        /// The source's name.
        image: String,
        /// The parser's word.
        #[source]
        source: serde_json::Error,
    },
    /// The documents contradict each other or the specification.
    #[error("failed to read {image}: {reason}")]
    #[diagnostic(help(
        "check which image is named; a damaged copy has to be fetched again from where it was made"
    ))]
    Invalid {
        /// The source's name.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// An index without a manifest for the wanted platform.
    #[error("failed to find {platform} in {image}: it has {available}")]
    #[diagnostic(help(
        "name an image that has this platform, or build on a machine of another architecture"
    ))]
    NoPlatform {
        /// The source's name.
        image: String,
        /// What was wanted.
        platform: Box<Platform>,
        /// What there is, separated by commas.
        available: String,
    },
    /// Nothing of that name or digest.
    #[error("failed to find {what} in {image}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// The source's name.
        image: String,
    },
    /// A file could not be read.
    #[error("failed to read `{path}`")]
    #[diagnostic(help(
        "check the path, and that you may read it: `oci:` takes a folder with an index.json, `docker-archive:` and `oci-archive:` a file"
    ))]
    Io {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The transport failed (a registry, from another crate).
    #[error(transparent)]
    #[diagnostic(transparent)]
    Transport(Box<dyn miette::Diagnostic + Send + Sync>),
}

/// Reads an image's documents for `platform` and verifies them: each against its digest and
/// size, the number of layers against the number of diff ids, all within the limits above. What
/// is a manifest and an index at once is refused.
pub fn resolve(source: &dyn ImageSource, platform: &Platform) -> Result<ResolvedImage, SourceError> {
    let (root, bytes) = source.root()?;
    check(source, "manifest", &root, &bytes)?;
    let (descriptor, manifest_bytes) = match root.media_type.as_str() {
        media_type::INDEX | media_type::DOCKER_INDEX => {
            let index: Index = parse(source, "index", &bytes)?;
            check_one_thing(source, &root, &index.extra, &["config", "layers"])?;
            let chosen = choose(source, index, platform)?;
            let bytes = source.manifest(&chosen)?;
            check(source, "manifest", &chosen, &bytes)?;
            (chosen, bytes)
        }
        _ => (root.clone(), bytes),
    };
    let manifest: Manifest = parse(source, "manifest", &manifest_bytes)?;
    check_one_thing(source, &descriptor, &manifest.extra, &["manifests"])?;
    let config_bytes = read_document(source, "config", &manifest.config)?;
    let config: ImageConfig = parse(source, "config", &config_bytes)?;
    check_layers(source, &manifest, &config)?;
    Ok(ResolvedImage { root, descriptor, manifest, manifest_bytes, config, config_bytes })
}

/// Reads a small blob whole, within [`MAX_DOCUMENT_BYTES`], and verifies it.
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

/// Refuses a document that has members of the other kind: by its media type, which is no part of
/// its bytes, one reader would take it for a manifest and the next for an index.
fn check_one_thing(
    source: &dyn ImageSource,
    document: &Descriptor,
    extra: &Extra,
    of_the_other: &[&str],
) -> Result<(), SourceError> {
    match of_the_other.iter().any(|member| extra.get(*member).is_some_and(|value| !value.is_null())) {
        true => Err(two_things(source, document)),
        false => Ok(()),
    }
}

/// What is said of a document that is a manifest and an index.
pub(crate) fn two_things(source: &dyn ImageSource, document: &Descriptor) -> SourceError {
    let reason = format!("{} is a manifest and an index at once", document.digest);
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

fn check_layers(
    source: &dyn ImageSource,
    manifest: &Manifest,
    config: &ImageConfig,
) -> Result<(), SourceError> {
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers > MAX_LAYERS {
        let (size, limit) = (layers as u64, MAX_LAYERS as u64);
        return Err(SourceError::TooLarge { what: "layers", image: source.name(), size, limit });
    }
    if layers != diff_ids {
        let reason = format!("its manifest has {layers} layers and its config {diff_ids} diff ids");
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
