//! Errors of reading and writing a lock.

use std::path::PathBuf;

/// A lock could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    Io {
        /// The operation.
        verb: &'static str,
        /// The lock file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a lock.
    #[error("failed to parse `{path}`")]
    #[diagnostic(help("run `carafe lock`, which writes a new one"))]
    Parse {
        /// The lock file.
        path: String,
        /// The parser's error, with its position.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The lock is not supported: it has another version, it is too large, or it has a control character.
    #[error("failed to read `{path}`: {reason}")]
    #[diagnostic(help(
        "use the version of carafe that wrote it, or run `carafe lock`, which writes a new one"
    ))]
    Unusable {
        /// The lock file.
        path: String,
        /// Why it is rejected.
        reason: String,
    },
}
