//! An image that is compared: its source, its documents, its lock.

use std::sync::Arc;

use carafe_builder::lock::{Lock, LockError};
use carafe_layers::diff::Side;
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};

use crate::build::assemble::LOCK_LABEL;
use crate::images::ImageName;
use crate::registry::Registry;

/// An image that is compared.
pub struct Opened {
    /// Has the blobs.
    pub source: Arc<dyn ImageSource>,
    /// The documents, verified.
    pub image: ResolvedImage,
    /// The lock in the image's label, if the image has one.
    pub lock: Option<Lock>,
}

/// Why an image cannot be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// It cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// Its label is not a lock of a known version.
    #[error("failed to read the label `{LOCK_LABEL}` of {image}")]
    #[diagnostic(help("the label was changed after the build, or a newer version of Carafe wrote it"))]
    Lock {
        /// The source's name.
        image: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: LockError,
    },
}

impl Opened {
    /// Opens an image by its name, and reads its documents.
    pub fn open(name: &ImageName, registry: &Registry) -> Result<Self, OpenError> {
        Self::of(name.open(registry, None)?, &Platform::host())
    }

    /// Reads the documents of an image; of an index, those of the image for `platform`.
    pub fn of(source: Arc<dyn ImageSource>, platform: &Platform) -> Result<Self, OpenError> {
        let image = resolve(&*source, platform)?;
        let label = image.config.config.labels.as_ref().and_then(|labels| labels.get(LOCK_LABEL));
        let lock = label.map(|text| Lock::parse(LOCK_LABEL, text)).transpose();
        let lock = lock.map_err(|error| OpenError::Lock { image: source.name(), source: error })?;
        Ok(Self { source, image, lock })
    }

    /// This image as one side of a comparison.
    pub fn side(&self) -> Side<'_> {
        Side { source: &*self.source, image: &self.image }
    }
}
