//! Why the store could not be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CacheError {
    /// There is no place for it.
    #[error("failed to find a cache directory: neither CARAFE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set CARAFE_CACHE_DIR to a directory that you may write to"))]
    NoPlace,
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help(
        "check that the directory exists, is yours, and that its disk has room; CARAFE_CACHE_DIR names another"
    ))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl CacheError {
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}
