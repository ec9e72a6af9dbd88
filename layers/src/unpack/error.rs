//! Why an image could not be unpacked.

use std::io;

use super::decompress::Compression;
use crate::digest::{DiffId, Digest};
use crate::source::SourceError;
use crate::tar_reader::ReadTarError;
use crate::text::escape_bytes;

/// Why an image could not be unpacked. The incomplete tree remains; the caller removes it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UnpackError {
    /// A layer could not be read, or its blob does not match its descriptor.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// The kernel does not support openat2, or a system call filter blocks it.
    #[error("failed to unpack into `{root}`: the system call openat2 is not available")]
    #[diagnostic(help(
        "openat2 requires Linux 5.6; gVisor and old container runtimes do not support it, so run \
         carafe on another node or with a newer runtime"
    ))]
    NoOpenat2 {
        /// The root directory.
        root: String,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The root directory cannot be used.
    #[error("failed to unpack into `{root}`")]
    #[diagnostic(help("check the permissions of the directory and the free space of its disk"))]
    Root {
        /// The root directory.
        root: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A layer of an unsupported media type.
    #[error("failed to unpack layer {layer}: unsupported media type `{media_type}`")]
    #[diagnostic(help("supported layers are {}", Compression::SUPPORTED))]
    MediaType {
        /// The layer's digest.
        layer: Digest,
        /// Its media type.
        media_type: String,
    },
    /// A layer's compression does not match its media type, or it is incomplete.
    #[error("failed to decompress layer {layer}")]
    #[diagnostic(help(
        "the blob has the expected digest, so its builder is at fault: build the image again"
    ))]
    Decompress {
        /// The layer's digest.
        layer: Digest,
        /// The decoder's error.
        #[source]
        source: io::Error,
    },
    /// A layer's tar is not the one that the image config names.
    #[error("failed to verify layer {layer}: expected the diff id {wanted}, got {got}")]
    #[diagnostic(help("the manifest and the config do not match: build the image again"))]
    DiffId {
        /// The layer's digest.
        layer: Digest,
        /// The config's diff id.
        wanted: DiffId,
        /// The digest of the tar that was read.
        got: DiffId,
    },
    /// A layer contains an entry that no correct tool writes.
    #[error("failed to unpack layer {layer} at `{path}`: {reason}")]
    Malformed {
        /// The layer's digest.
        layer: Digest,
        /// The entry, or the last one before the damage.
        path: String,
        /// The fact.
        reason: String,
    },
    /// A limit of [`UnpackLimits`](super::UnpackLimits) is exceeded.
    #[error("failed to unpack layer {layer} at `{path}`: the limit of {limit} {what} is exceeded")]
    #[diagnostic(help("this may be an archive bomb: images of a bench are far below this limit"))]
    Limit {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// What the limit counts, such as `entries`.
        what: &'static str,
        /// Its value.
        limit: u64,
    },
    /// An entry could not be created.
    #[error("failed to {action} `{path}` of layer {layer}")]
    #[diagnostic(help("check the permissions of the directory and the free space of its disk"))]
    Entry {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// The operation, as it precedes the path: `create the file`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// An [`UnpackError`] without its layer and entry, which [`Self::at`] adds.
#[derive(Debug)]
pub(crate) enum EntryError {
    Malformed(String),
    Limit { what: &'static str, limit: u64 },
    Io { action: &'static str, source: io::Error },
}

/// A limit that a reader exceeded, to be wrapped in an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the limit of {limit} {what} is exceeded")]
pub(super) struct LimitExceeded {
    pub what: &'static str,
    pub limit: u64,
}

impl EntryError {
    pub(crate) fn malformed<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Malformed(reason.into()))
    }

    /// Whether a damaged blob may be the cause, which only its digest shows.
    pub(crate) fn may_be_damage(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    pub(crate) fn at(self, layer: Digest, path: &[u8]) -> UnpackError {
        let path = escape_bytes(path);
        match self {
            Self::Malformed(reason) => UnpackError::Malformed { layer, path, reason },
            Self::Limit { what, limit } => UnpackError::Limit { layer, path, what, limit },
            Self::Io { action, source } => UnpackError::Entry { layer, path, action, source },
        }
    }
}

impl From<ReadTarError> for EntryError {
    fn from(error: ReadTarError) -> Self {
        match error {
            ReadTarError::Malformed(reason) => Self::Malformed(reason),
            ReadTarError::Io(error) => error.into(),
        }
    }
}

/// An error of the tar stream: an exceeded limit, or an unexpected end.
impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<LimitExceeded>() {
            Ok(LimitExceeded { what, limit }) => Self::Limit { what, limit },
            Err(error) => Self::Malformed(error.to_string()),
        }
    }
}

/// Adds the failed operation to an error: `.map_err(failed_to("create the file"))`.
pub(super) fn failed_to<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> EntryError {
    move |error| EntryError::Io { action, source: error.into() }
}
