//! A bundle: everything that a build needs, in one OCI artifact with a digest of its own.
//! `docs/bundle.md` has its form.
//!
//! Making one: [`BundleBuilder::gather`] puts the documents together and knows where each blob is, and
//! [`write`] brings them into a directory, a tar or a registry. Using one: [`Bundle::open`] reads and
//! checks the documents, [`Bundle::unpack`] brings commits, bodies and the record into this
//! machine's stores, [`Bundle::image`] reads the images in it. [`Bundle::open`] promises that lock,
//! record, commits and images belong together; each blob is checked when it is read.

mod blob_locations;
mod builder;
mod contents;
mod error;
mod images;
mod material_source;
mod open;
mod sources;
pub mod stage;
mod unpack;
pub mod write;

pub use builder::{BundleBuilder, BundleInputs};
pub use contents::{BUNDLE_TYPE, Contents, ImageEntry};
pub use error::BundleError;
pub use images::BundledImage;
pub use open::Bundle;
