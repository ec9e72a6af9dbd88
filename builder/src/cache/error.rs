//! Why the cache cannot be used.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CacheError {
    /// No variable names a directory for it.
    #[error("failed to find a cache directory: neither CARAFE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set CARAFE_CACHE_DIR to a writable directory"))]
    NoDirectory,
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("{}", help(source)))]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl CacheError {
    /// For `map_err`.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}

fn help(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free disk space there, or set CARAFE_CACHE_DIR to a directory on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make the directory writable for this user, or set CARAFE_CACHE_DIR to another one"
        }
        _ => "CARAFE_CACHE_DIR sets the directory of the cache",
    }
}
