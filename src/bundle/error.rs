//! The errors of creating and using bundles.

use std::io;

use carafe_builder::cache::CacheError;
use carafe_builder::egress::{BodyStoreError, RecordingError};
use carafe_builder::git::GitError;
use carafe_builder::lock::LockError;
use carafe_builder::spec::format_bytes;
use carafe_layers::digest::Digest;
use carafe_layers::layout::LayoutError;
use carafe_layers::source::SourceError;

use crate::registry::RegistryError;

/// The maximum number of missing blobs that a message names.
const MAX_NAMED_BLOBS: usize = 5;

/// The error of creating or using a bundle.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BundleError {
    /// The source is not a bundle.
    #[error("failed to read {name} as a bundle: {reason}")]
    #[diagnostic(help("create a bundle with `carafe bundle`"))]
    NotABundle {
        /// The name of the source.
        name: String,
        /// What was found instead.
        reason: String,
    },
    /// The parts of the bundle contradict each other.
    #[error("failed to read bundle {name}: {reason}")]
    #[diagnostic(help("the bundle was damaged or modified: download it again from its origin"))]
    Contradiction {
        /// The name of the bundle.
        name: String,
        /// The contradiction.
        reason: String,
    },
    /// A document of the bundle is malformed.
    #[error("failed to parse {what} of bundle {name}")]
    #[diagnostic(help("the bundle was written by another version of carafe, or was damaged or modified"))]
    Document {
        /// The name of the bundle.
        name: String,
        /// The document.
        what: &'static str,
        /// The parse error.
        #[source]
        source: serde_json::Error,
    },
    /// A blob could not be read, or does not match its digest.
    #[error("failed to read {what} of bundle {name}")]
    #[diagnostic(help("the bundle was damaged, truncated or modified: download it again from its origin"))]
    Blob {
        /// The name of the bundle.
        name: String,
        /// The kind and digest of the blob.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Blobs are missing: the bundle is a delta, or it was truncated.
    #[error("failed to find {} of bundle {name}: {}", count(blobs.len(), "blob"), digests(blobs))]
    #[diagnostic(help("{}", missing_help(*bytes, bases)))]
    Missing {
        /// The name of the bundle.
        name: String,
        /// The missing blobs.
        blobs: Vec<Digest>,
        /// The total size of the missing blobs, in bytes.
        bytes: u64,
        /// The digests of the bundles that have them, as far as the annotations name them.
        bases: Vec<Digest>,
    },
    /// The lock names no recording, so an offline build from the bundle would be impossible.
    #[error("failed to bundle `{lock}`: the lock names no recording")]
    #[diagnostic(help(
        "run `carafe build`: it records what bench downloads and adds the recording to the lock"
    ))]
    NoRecording {
        /// The path of the lock.
        lock: String,
    },
    /// Recorded response bodies are not on this machine.
    #[error("failed to bundle {} of the recording: {}", count(blobs.len(), "response"), digests(blobs))]
    #[diagnostic(help(
        "their bodies are not in the cache: run `carafe build` on this machine to download them"
    ))]
    MissingBodies {
        /// The digests of the bodies.
        blobs: Vec<Digest>,
    },
    /// The contents manifest exceeds the size that registries accept.
    #[error("failed to create the bundle: its manifest of {} exceeds the limit of {}", format_bytes(*size), format_bytes(*limit))]
    #[diagnostic(help("bundle fewer apps at once"))]
    TooLarge {
        /// The size of the manifest, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("check the permissions of the directory and the free disk space"))]
    Io {
        /// The operation.
        verb: &'static str,
        /// The path.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A document could not be read from its source.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// The lock in the bundle is invalid.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),
    /// The recording in the bundle is invalid.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Recording(#[from] RecordingError),
    /// A commit could not be read or is invalid.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
    /// The body store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    BodyStore(#[from] BodyStoreError),
    /// The cache failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// An OCI layout could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    /// The push to a registry failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn digests(blobs: &[Digest]) -> String {
    let names = blobs.iter().take(MAX_NAMED_BLOBS).map(Digest::to_string).collect::<Vec<_>>().join(", ");
    if blobs.len() > MAX_NAMED_BLOBS { format!("{names}, …") } else { names }
}

fn missing_help(bytes: u64, bases: &[Digest]) -> String {
    let size = format_bytes(bytes);
    match bases {
        [] => format!("the bundle was truncated, {size} are missing: download it again from its origin"),
        bases => {
            let names = bases.iter().map(Digest::to_string).collect::<Vec<_>>().join(" or ");
            format!(
                "the bundle is a delta, and {size} are in bundle {names}: pass that one too, with a second `--bundle`"
            )
        }
    }
}
