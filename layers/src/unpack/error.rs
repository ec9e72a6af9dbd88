//! Why an image could not be unpacked.

use std::io;

use crate::digest::{DiffId, Digest};
use crate::path::printable;
use crate::source::SourceError;
use crate::untar::ReadTarError;

/// Why an image could not be unpacked. What was laid down until then stays: the caller removes it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum UnpackError {
    /// A layer could not be read, or its blob does not agree with its descriptor.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// The kernel has no openat2, or what filters system calls here forbids it.
    #[error("failed to unpack beneath `{root}`: no openat2 here")]
    #[diagnostic(help(
        "it takes linux 5.6 or later; gVisor and old container run-times lack it, so run carafe \
         on another node or with a newer run-time"
    ))]
    NoOpenat2 {
        /// The root folder.
        root: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The root folder cannot be used.
    #[error("failed to unpack beneath `{root}`")]
    #[diagnostic(help("check that the folder is yours, and that its disk has room"))]
    Root {
        /// The root folder.
        root: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer in a form that we do not read.
    #[error("failed to unpack layer {layer}: unknown media type `{media_type}`")]
    #[diagnostic(help("layers may be tar, tar+gzip or tar+zstd"))]
    MediaType {
        /// The layer's digest.
        layer: Digest,
        /// Its media type.
        media_type: String,
    },
    /// A layer is not as compressed as its media type says, or is cut short.
    #[error("failed to decompress layer {layer}")]
    #[diagnostic(help("the blob has the digest it should have, so it was made so: build the image again"))]
    Decompress {
        /// The layer's digest.
        layer: Digest,
        /// The decoder's word.
        #[source]
        source: io::Error,
    },
    /// A layer's tar is not the one that the image config names.
    #[error("failed to verify layer {layer}: its tar should have the digest {wanted}, and has {got}")]
    #[diagnostic(help("manifest and config do not belong together: build the image again"))]
    DiffId {
        /// The layer's digest.
        layer: Digest,
        /// The config's diff id.
        wanted: DiffId,
        /// The diff id of what came.
        got: DiffId,
    },
    /// A layer holds what no honest layer does.
    #[error("failed to unpack layer {layer} at `{path}`: {reason}")]
    Malformed {
        /// The layer's digest.
        layer: Digest,
        /// The entry, or the last one before the damage.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// One of [`super::UnpackLimits`] was reached.
    #[error("failed to unpack layer {layer} at `{path}`: {what} over the limit of {limit}")]
    #[diagnostic(help("this looks like an archive bomb; no image of a bench comes near this limit"))]
    Limit {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An entry could not be laid down.
    #[error("failed to unpack layer {layer} at `{path}`: could not {action}")]
    #[diagnostic(help("check that the folder is yours, and that its disk has room"))]
    Entry {
        /// The layer's digest.
        layer: Digest,
        /// The entry.
        path: String,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What went wrong with an entry, before it is known of which layer.
#[derive(Debug)]
pub(crate) enum Fault {
    Malformed(String),
    Limit { what: &'static str, limit: u64 },
    Io { action: &'static str, source: io::Error },
}

/// A limit reached while reading, on its way through [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{what} over the limit of {limit}")]
pub(super) struct Exceeded {
    pub what: &'static str,
    pub limit: u64,
}

impl Fault {
    pub(crate) fn malformed<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Malformed(reason.into()))
    }

    /// Whether a damaged blob may be the cause, which only the blob's digest can tell.
    pub(crate) fn may_be_damage(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    pub(crate) fn at(self, layer: Digest, path: &[u8]) -> UnpackError {
        let path = printable(path);
        match self {
            Self::Malformed(reason) => UnpackError::Malformed { layer, path, reason },
            Self::Limit { what, limit } => UnpackError::Limit { layer, path, what, limit },
            Self::Io { action, source } => UnpackError::Entry { layer, path, action, source },
        }
    }
}

impl From<ReadTarError> for Fault {
    fn from(error: ReadTarError) -> Self {
        match error {
            ReadTarError::Malformed(reason) => Self::Malformed(reason),
            ReadTarError::Io(error) => error.into(),
        }
    }
}

/// An error of the stream itself: one of its limits, or its end.
impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Exceeded>() {
            Ok(Exceeded { what, limit }) => Self::Limit { what, limit },
            Err(error) => Self::Malformed(error.to_string()),
        }
    }
}

/// Names an action that failed: `.map_err(doing("create the file"))`.
pub(super) fn doing<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Fault {
    move |error| Fault::Io { action, source: error.into() }
}
