//! The location of each blob of a bundle that is not written yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use carafe_builder::egress::BodyStore;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};

/// A new bundle, readable as an [`ImageSource`].
pub(super) struct BlobLocations {
    pub root: Descriptor,
    /// Manifests and indexes.
    pub documents: BTreeMap<Digest, Vec<u8>>,
    pub blobs: BTreeMap<Digest, BlobLocation>,
    pub bodies: BodyStore,
}

/// The location of a blob.
pub(super) enum BlobLocation {
    Memory(Vec<u8>),
    File(PathBuf),
    BodyStore,
    Image(Arc<dyn ImageSource>),
}

impl BlobLocations {
    fn not_found(&self, descriptor: &Descriptor) -> SourceError {
        SourceError::NotFound { what: format!("blob {}", descriptor.digest), image: self.name() }
    }
}

impl ImageSource for BlobLocations {
    fn name(&self) -> String {
        "the new bundle".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((self.root.clone(), self.manifest(&self.root)?))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.documents.get(&descriptor.digest).cloned().ok_or_else(|| self.not_found(descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let failed =
            |source| SourceError::Io { path: format!("{} of {}", descriptor.digest, self.name()), source };
        match self.blobs.get(&descriptor.digest) {
            Some(BlobLocation::Memory(bytes)) => Ok(Box::new(Cursor::new(bytes.clone()))),
            Some(BlobLocation::File(path)) => Ok(Box::new(File::open(path).map_err(failed)?)),
            Some(BlobLocation::Image(source)) => source.blob(descriptor),
            Some(BlobLocation::BodyStore) => {
                let body = self.bodies.open(&descriptor.digest);
                let body = body.map_err(|error| SourceError::Transport(Box::new(error)))?;
                Ok(Box::new(body.ok_or_else(|| self.not_found(descriptor))?))
            }
            None => Err(self.not_found(descriptor)),
        }
    }
}
