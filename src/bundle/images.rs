//! An image inside a bundle.

use std::io::Read;
use std::sync::Arc;

use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};

use super::sources::Sources;

/// An image of a bundle as an [`ImageSource`] of its own; its root is the descriptor in the lock.
pub struct BundledImage {
    pub(super) bundle: Arc<Sources>,
    /// The reference of the image in the lock.
    pub(super) reference: String,
    /// The descriptor in the lock, and its bytes.
    pub(super) root: (Descriptor, Vec<u8>),
}

impl ImageSource for BundledImage {
    fn name(&self) -> String {
        format!("{} in {}", self.reference, self.bundle.name())
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok(self.root.clone())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.bundle.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.bundle.blob(descriptor)
    }
}
