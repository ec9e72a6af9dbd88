//! Why an archive could not be read.

use std::io;

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadTarError {
    /// The underlying reader failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The archive is not a tar, is incomplete, or contains what this reader rejects.
    #[error("{0}")]
    Malformed(String),
}

pub(super) fn malformed<T>(reason: impl Into<String>) -> Result<T, ReadTarError> {
    Err(ReadTarError::Malformed(reason.into()))
}
