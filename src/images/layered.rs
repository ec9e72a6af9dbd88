//! An image on top of a base image.

use std::io::Read;
use std::sync::Arc;

use carafe_layers::digest::Digest;
use carafe_layers::image::layer_names;
use carafe_layers::layout::LayoutSource;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError};

/// A new image on top of a base image: its own blobs are in a layout, those of the base image are read
/// from the base image's source.
pub struct Layered {
    /// Has the new blobs.
    pub layout: LayoutSource,
    /// Has the blobs of the base image.
    pub base: Arc<dyn ImageSource>,
}

impl ImageSource for Layered {
    fn name(&self) -> String {
        self.layout.name()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.layout.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.layout.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        match self.layout.blob(descriptor) {
            Err(SourceError::NotFound { .. }) => self.base.blob(descriptor),
            found => found,
        }
    }
}

/// The layers of the base image in `image`.
pub fn base_layers(image: &ResolvedImage) -> impl Iterator<Item = Digest> {
    let layers = image.manifest.layers.iter().zip(layer_names(image));
    layers.filter(|(_, name)| name.is_none()).map(|(layer, _)| layer.digest)
}
