//! A bundle's blobs, wherever they lie: in the bundle itself, or, of a delta, in those before it.

use std::io::Read;
use std::sync::Arc;

use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};

/// The first is the bundle; all others are asked for what it lacks, in order.
pub(super) struct Sources(Vec<Arc<dyn ImageSource>>);

impl Sources {
    /// The bundle, and those that may have what it lacks.
    pub fn new(bundle: Arc<dyn ImageSource>, others: impl IntoIterator<Item = Arc<dyn ImageSource>>) -> Self {
        Self([bundle].into_iter().chain(others).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ImageSource>> {
        self.0.iter()
    }

    fn first(&self) -> &Arc<dyn ImageSource> {
        &self.0[0]
    }

    /// What the first one that has it says; the bundle's own answer if none has.
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
