//! Why an image tree could not be created.

use std::io;
use std::path::PathBuf;

use crate::normalize::NormalizeError;

/// Why an image tree could not be created.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImageTreeError {
    /// The bench could not be normalized, or a directory of it not be moved.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Normalize(#[from] NormalizeError),
    /// apps/ has entries that are not apps of the lock. At run time its entries become apps.txt.
    #[error("failed to create the image tree: apps/ has `{names}`, which the lock does not list")]
    #[diagnostic(help(
        "an app's install script created it: change the script to use the app's own directory"
    ))]
    UnknownApps {
        /// Separated by commas.
        names: String,
    },
    /// An app of the lock is not in apps/.
    #[error("failed to create the image tree: apps/ has no directory `{name}`")]
    AppMissing {
        /// Its name in the lock.
        name: String,
    },
    /// The permissions of a file or directory could not be restored.
    #[error("failed to restore the owner's permissions in `{}`", path.display())]
    Permissions {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A script could not be written.
    #[error("failed to write `{}`", path.display())]
    Script {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
