//! Errors of normalization.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use carafe_layers::text::escape_bytes;

/// A built tree could not be normalized.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NormalizeError {
    /// A file operation failed.
    #[error("failed to {verb} `{path}` in the bench")]
    #[diagnostic(help("check whether the build script of an app removes permissions"))]
    Io {
        /// The operation.
        verb: &'static str,
        /// The path, relative to the bench.
        path: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A file has a form that its rule does not support.
    #[error("failed to normalize `{path}` in the bench: {reason}")]
    #[diagnostic(help(
        "an image with this file would differ from build to build; find the app whose build writes it, or report it with the app's name and version"
    ))]
    Unsupported {
        /// The path, relative to the bench.
        path: String,
        /// What is unexpected about the file.
        reason: String,
    },
}

impl NormalizeError {
    /// [`NormalizeError::Io`], for `map_err`.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = escape(path);
        move |source| Self::Io { verb, path, source }
    }

    /// [`NormalizeError::Unsupported`].
    pub(super) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported { path: escape(path), reason: reason.into() }
    }
}

fn escape(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes())
}
