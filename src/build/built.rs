//! A finished image.

use std::path::PathBuf;

use carafe_builder::lock::Lock;
use carafe_layers::image::Image;
use carafe_layers::pack::PackedLayer;

use super::egress::Traffic;
use super::fetch::Sources;

/// A finished image, and what it was built from.
pub struct Built {
    /// The lock that produced it. It names the recording that the build used.
    pub lock: Lock,
    /// Its manifest and config.
    pub image: Image,
    /// The layers that Carafe adds to the base image, lowest first.
    pub layers: Vec<PackedLayer>,
    /// What it was built from.
    pub sources: Sources,
    /// The OCI layout that has its blobs; the base image's are there only if the layout was requested.
    pub layout: PathBuf,
    /// What the egress proxy served; `None` for a build without a sandbox.
    pub traffic: Option<Traffic>,
}
