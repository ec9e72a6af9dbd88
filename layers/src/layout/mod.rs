//! An OCI image layout: a directory with `oci-layout`, `index.json` and `blobs/sha256/`.

mod error;
mod files;
mod sink;
mod source;
mod writer;

pub use error::LayoutError;
pub(crate) use files::{INDEX, MARKER, MARKER_CONTENT};
pub use sink::ImageSink;
pub use source::LayoutSource;
pub use writer::{BlobWriter, LayoutWriter};
