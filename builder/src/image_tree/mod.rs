//! From a finished bench to the files of an image with the layout of frappe_docker's.
//!
//! frappe_docker's compose.yaml and Helm chart expect the assets beside sites/ and not in it, two
//! scripts in `PATH`, the user `frappe`, and sites/ and logs/ as volumes.
//!
//! The files, each of which imports only files listed before it: `error`, `access` (file
//! permissions), `layout` (what is where), `policy` (modification times, layers, image config),
//! [`finish`] in this file.

mod access;
mod error;
mod layout;
mod policy;

use std::path::Path;

use carafe_layers::image::ImageChanges;
use carafe_layers::mtime::MtimePolicy;
use carafe_layers::pattern::Rule;
use carafe_layers::plan::LayerName;
use carafe_layers::tree::SourceMapping;

pub use error::ImageTreeError;

use crate::lock::Lock;
use crate::normalize::{self, Applied, BenchTree};

/// A finished bench, and how it becomes an image.
#[derive(Debug)]
pub struct BuiltTree {
    /// The source mappings.
    pub mappings: Vec<SourceMapping>,
    /// The modification time of each file.
    pub mtimes: MtimePolicy,
    /// The layer of each file, the lowest layer first.
    pub layers: Vec<Rule<LayerName>>,
    /// The image config. The caller adds labels, annotations, the base image's name and the comment.
    pub changes: ImageChanges,
    /// What the normalization rules changed.
    pub applied: Vec<Applied>,
}

/// Normalizes the bench at `bench` (on this machine), changes its layout to that of the image, and
/// returns how it becomes an image. No process may use the bench meanwhile. `scripts` is a directory
/// for the two scripts of the image; it is created if it does not exist.
///
/// Of the home directory, only the bench is in the image.
pub fn finish(bench: &Path, lock: &Lock, scripts: &Path) -> Result<BuiltTree, ImageTreeError> {
    access::restore(bench)?;
    let tree = BenchTree::new(bench, lock.apps.clone());
    layout::check_apps(&tree)?;
    let applied = normalize::apply(&tree)?;
    layout::arrange(&tree)?;
    Ok(BuiltTree {
        mappings: layout::mappings(bench, scripts)?,
        mtimes: policy::mtimes(lock),
        layers: policy::layers(lock),
        changes: policy::changes(lock),
        applied,
    })
}

#[cfg(test)]
mod tests;
