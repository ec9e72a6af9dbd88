//! Why an image could not be written.

use std::io;
use std::path::{Path, PathBuf};

use crate::text::escape_path;
use crate::verified::VerifyError;

/// Why a layout or an archive could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LayoutError {
    /// The file system returned an error.
    #[error("failed to write `{}`", escape_path(path))]
    #[diagnostic(help("check the permissions of the directory and the free space of its disk"))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A stream to be written, or a file of the layout, could not be read.
    #[error("failed to read `{}`", escape_path(path))]
    Read {
        /// The file or stream.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The directory contains something else.
    #[error(
        "failed to write an OCI layout into `{}`: the directory is not empty and is not an OCI layout \
         of version 1.0.0",
        escape_path(path)
    )]
    #[diagnostic(help("use a directory that does not exist yet, or an OCI layout"))]
    NotALayout {
        /// The directory.
        path: PathBuf,
    },
    /// The layout's index cannot be extended.
    #[error("failed to parse `{}`", escape_path(path))]
    #[diagnostic(help("the layout is damaged; remove the directory and write it again"))]
    Parse {
        /// `index.json`.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A stream is not the blob that its descriptor names.
    #[error(transparent)]
    #[diagnostic(help("the copy is damaged or was modified; copy it again from its origin"))]
    Mismatch(#[from] VerifyError),
}

impl LayoutError {
    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write { path: path.to_owned(), source }
    }
}
