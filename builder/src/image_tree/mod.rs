//! From what bench left behind to what a container runs: the layout of frappe_docker's image.
//!
//! Its compose.yaml and its Helm chart expect: the real assets beside sites/ and not in it, two
//! scripts on `PATH`, the user `frappe`, and sites/ and logs/ as volumes.

mod access;
mod layout;
mod policy;

use std::path::{Path, PathBuf};

use carafe_layers::image::ImageChanges;
use carafe_layers::mtime::MtimePolicy;
use carafe_layers::pattern::Rule;
use carafe_layers::plan::LayerName;
use carafe_layers::tree::SourceMapping;

use crate::lock::Lock;
use crate::normalize::{self, Applied, BenchTree, NormalizeError};

/// Where the bench is, inside the build root and inside the image. It must be the same place: a
/// bench is full of absolute paths.

/// A finished bench, and how it becomes an image.
#[derive(Debug)]
pub struct BuiltTree {
    /// What goes where.
    pub grafts: Vec<SourceMapping>,
    /// Which file carries which time.
    pub mtimes: MtimePolicy,
    /// Which file goes into which layer, the lowest layer first.
    pub layers: Vec<Rule<LayerName>>,
    /// How the image is run. Labels, annotations, the base's name and the comment are for the
    /// caller to add.
    pub changes: ImageChanges,
    /// What the canonical rules did.
    pub applied: Vec<Applied>,
}

/// Why a bench could not be finished.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImageTreeError {
    /// It could not be made canonical, or moved into place.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Canonical(#[from] NormalizeError),
    /// Something in apps/ is no app of the lock. Its listing becomes apps.txt at run time.
    #[error("failed to finish the bench: apps/ holds `{names}`, which the lock does not name")]
    #[diagnostic(help("an app's install script put it there; it belongs inside the app's own directory"))]
    StrangersInApps {
        /// Separated by commas.
        names: String,
    },
    /// An app of the lock is not in apps/.
    #[error("failed to finish the bench: apps/ has no directory `{name}`")]
    AppMissing {
        /// As the lock names it.
        name: String,
    },
    /// A directory that the build closed could not be opened again.
    #[error("failed to give `{}` back to its owner", path.display())]
    Unreadable {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A script could not be written.
    #[error("failed to write `{}`", path.display())]
    Script {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the bench at `bench` (on this machine) canonical, moves it into its layout for run time,
/// and says how it becomes an image. No process may run in it. `scripts` is a directory for the two
/// scripts that the image gets; it is made if need be.
///
/// Only the bench's directory goes into the image: nothing else of its user's home.
pub fn finish(bench: &Path, lock: &Lock, scripts: &Path) -> Result<BuiltTree, ImageTreeError> {
    access::restore(bench)?;
    let tree = BenchTree::new(bench, lock.apps.clone());
    layout::check_apps(&tree)?;
    let applied = normalize::apply(&tree)?;
    layout::arrange(&tree)?;
    Ok(BuiltTree {
        grafts: layout::grafts(bench, scripts)?,
        mtimes: policy::mtimes(lock),
        layers: policy::layers(lock),
        changes: policy::changes(lock),
        applied,
    })
}

#[cfg(test)]
mod tests;
