//! A bundle: everything that a build needs, in one OCI artifact with a digest of its own.
//! `docs/bundle.md` has its form.
//!
//! Making one: [`Draft::gather`] puts the documents together and knows where each blob is, and
//! [`write`] brings them into a folder, a tar or a registry. Using one: [`Bundle::open`] reads and
//! checks the documents, [`Bundle::unpack`] brings commits, bodies and the record into this
//! machine's stores, [`Bundle::image`] reads the images in it. [`Bundle::open`] promises that lock,
//! record, commits and images belong together; each blob is checked when it is read.

mod contents;
mod draft;
mod error;
mod images;
mod open;
mod origins;
mod shelf;
mod sources;
mod unpack;
pub mod write;

pub use contents::{BUNDLE_TYPE, Contents, ImageEntry};
pub use draft::{Draft, Ingredients};
pub use error::BundleError;
pub use images::BundledImage;
pub use open::Bundle;
