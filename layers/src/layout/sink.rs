//! Destinations that blobs are written to.

use std::io::Read;
use std::path::Path;

use super::error::LayoutError;
use crate::oci::Descriptor;

/// A destination for the blobs of images: a layout, an archive.
pub trait ImageSink: Sync {
    /// Whether it has a blob of this digest and size. Does not read the blob's bytes.
    fn contains(&self, blob: &Descriptor) -> bool;

    /// Stores a stream that must have the digest and size of `blob`. A wrong stream is never
    /// visible. `origin` names the stream in messages.
    fn put(&self, blob: &Descriptor, stream: &mut dyn Read, origin: &Path) -> Result<(), LayoutError>;
}
