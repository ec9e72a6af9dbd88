//! A bundle: everything that a build needs, as one OCI artifact with its own digest.
//! `docs/bundle.md` specifies the format.
//!
//! To create one, [`BundleBuilder::gather`] assembles the documents and locates each blob, and
//! [`write`] stores them in a directory, a tar file or a registry. To use one, [`Bundle::open`] reads
//! and checks the documents, [`Bundle::unpack`] imports commits and response bodies into the stores
//! of this machine, and [`Bundle::image`] reads the images. [`Bundle::open`] guarantees that lock,
//! recording, commits and images match each other; each blob is verified when it is read.
//!
//! Import order: `contents`, `error`, `blob_locations`, `sources`, `images`, `builder`, `open`,
//! `material_source`, `unpack`, `write`, `stage`.

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
