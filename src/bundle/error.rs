//! Why a bundle could not be made or used.

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

/// Missing blobs that a message names.
const MAX_NAMED_BLOBS: usize = 5;

/// Why a bundle could not be made or used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BundleError {
    /// It is something else.
    #[error("failed to read {name} as a bundle: {reason}")]
    #[diagnostic(help("`carafe bundle` makes one, of a lock with a record"))]
    NotABundle {
        /// Which.
        name: String,
        /// What it is instead.
        reason: String,
    },
    /// Its parts do not belong together.
    #[error("failed to read bundle {name}: {reason}")]
    #[diagnostic(help(
        "it was not made by carafe, or was tampered with; fetch it again from where it was made"
    ))]
    Contradiction {
        /// Which.
        name: String,
        /// What does not fit what.
        reason: String,
    },
    /// One of its documents is not what it should be.
    #[error("failed to parse {what} of bundle {name}")]
    #[diagnostic(help("it was written by another carafe, or was tampered with"))]
    Document {
        /// Which bundle.
        name: String,
        /// Which document.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A blob could not be read to its end, or is not what its name says.
    #[error("failed to read {what} of bundle {name}")]
    #[diagnostic(help(
        "the copy is damaged, cut short or was tampered with; fetch it again from where it was made"
    ))]
    Blob {
        /// Which bundle.
        name: String,
        /// What it is, and its digest.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Blobs are not there: it is a delta, or it was cut short.
    #[error("failed to find {} of bundle {name}: {}", plural(blobs.len(), "blob"), some(blobs))]
    #[diagnostic(help("{}", where_missing(*bytes, bases)))]
    Missing {
        /// Which bundle.
        name: String,
        /// What is missing.
        blobs: Vec<Digest>,
        /// Their lengths together.
        bytes: u64,
        /// The bundles that have them, as far as is known.
        bases: Vec<Digest>,
    },
    /// The lock has no record yet, so there is nothing that a build could be answered with.
    #[error("failed to bundle `{lock}`: it has no record")]
    #[diagnostic(help("`carafe build` records what bench downloads, and writes it down beside the lock"))]
    NoRecord {
        /// The lock's file.
        lock: String,
    },
    /// What was recorded is not on this machine.
    #[error("failed to bundle {} of the record: {}", plural(blobs.len(), "answer"), some(blobs))]
    #[diagnostic(help("they are not on this machine; `carafe build` here brings them"))]
    NoBodies {
        /// The bodies' digests.
        blobs: Vec<Digest>,
    },
    /// More than a manifest can hold.
    #[error("failed to make a bundle: its manifest has {size} bytes, registries take {limit}")]
    #[diagnostic(help("bundle fewer apps at once"))]
    TooLarge {
        /// Of the manifest.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("check that the directory is yours, and that its disk has room"))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its documents could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// Its lock is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),
    /// Its record is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Recording(#[from] RecordingError),
    /// A commit could not be read or is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
    /// The bodies' store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    BodyStore(#[from] BodyStoreError),
    /// The cache failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// A directory could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
    /// A registry did not take it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Registry(#[from] RegistryError),
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn some(blobs: &[Digest]) -> String {
    let names = blobs.iter().take(MAX_NAMED_BLOBS).map(Digest::to_string).collect::<Vec<_>>().join(", ");
    if blobs.len() > MAX_NAMED_BLOBS { format!("{names}, …") } else { names }
}

fn where_missing(bytes: u64, bases: &[Digest]) -> String {
    let size = format_bytes(bytes);
    match bases {
        [] => format!("{size} are missing: it was cut short; fetch it again from where it was made"),
        bases => {
            let names = bases.iter().map(Digest::to_string).collect::<Vec<_>>().join(" or ");
            format!(
                "it is a delta, and {size} are in bundle {names}: name that one too, with another `--bundle`"
            )
        }
    }
}
