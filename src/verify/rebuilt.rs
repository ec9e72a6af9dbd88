//! The rebuilt image, opened for the comparison.

use std::io::Read;
use std::sync::Arc;

use carafe_layers::layout::LayoutSource;
use carafe_layers::oci::{Descriptor, Platform};
use carafe_layers::source::{ImageSource, SourceError};

use crate::build::Built;
use crate::diff::{OpenError, Opened};
use crate::images::Layered;

/// Opens the rebuilt image.
pub fn open_rebuilt(built: &Built) -> Result<Opened, OpenError> {
    let layout = LayoutSource::open(&built.layout, Some(&built.image.descriptor.digest.to_string()))?;
    let source = Rebuilt(Layered { layout, base: Arc::clone(&built.sources.base_source) });
    Opened::of(Arc::new(source), &Platform::host())
}

/// The image under a name that describes it: the directory of the layout no longer exists when the
/// user reads the result.
struct Rebuilt(Layered);

impl ImageSource for Rebuilt {
    fn name(&self) -> String {
        "the image rebuilt from its lock".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.0.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.0.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.0.blob(descriptor)
    }
}
