//! The sources of a bundle's blobs: the bundle itself and, for a delta, the bundles before it.

use std::io::Read;
use std::sync::Arc;

use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};

/// The first source is the bundle; blobs that it lacks are read from the others, in order.
pub(super) struct Sources(Vec<Arc<dyn ImageSource>>);

impl Sources {
    /// The bundle, and the bundles that may have the blobs that it lacks.
    pub fn new(bundle: Arc<dyn ImageSource>, others: impl IntoIterator<Item = Arc<dyn ImageSource>>) -> Self {
        Self([bundle].into_iter().chain(others).collect())
    }

    /// All sources, the bundle first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ImageSource>> {
        self.0.iter()
    }

    fn first(&self) -> &Arc<dyn ImageSource> {
        &self.0[0]
    }

    /// The result of the first source that has the blob; the bundle's own error if none has it.
    fn ask<T>(&self, ask: impl Fn(&dyn ImageSource) -> Result<T, SourceError>) -> Result<T, SourceError> {
        let own = ask(&**self.first());
        match own {
            Err(SourceError::NotFound { .. }) => {
                let mut others = self.0[1..].iter().map(|source| ask(&**source));
                others.find(|answer| !matches!(answer, Err(SourceError::NotFound { .. }))).unwrap_or(own)
            }
            answer => answer,
        }
    }
}

impl ImageSource for Sources {
    fn name(&self) -> String {
        self.first().name()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.first().root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.ask(|source| source.manifest(descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.ask(|source| source.blob(descriptor))
    }
}
