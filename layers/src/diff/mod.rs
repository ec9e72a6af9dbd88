//! The differences between two images, and their causes.
//!
//! Every layer of both images is read once and verified ([`read`]), which results in a [`Listing`] of its
//! entries without their contents. The listings of an image give its merged tree, with whiteouts applied,
//! and two trees give the entries that differ, each with its [`Cause`]s ([`Trees::entries`]). Layers
//! ([`ImagePair::layers`]) and documents ([`documents`]) are compared in the same way.
//!
//! Contents are never stored: memory grows with the number of entries (about 250 bytes for each, within
//! [`limits`]) and not with their size.

mod compare;
mod documents;
mod layers;
mod listing;
mod merge;
mod pair;
mod pyc;
mod reader;

pub use compare::{Cause, Difference, EntryChange};
pub use documents::{DocumentChange, documents};
pub use layers::{LayerChange, PlacedLayer};
pub use listing::{Extractor, Item, Listing, MAX_EXTRACT_BYTES};
pub use pair::{ImagePair, Trees, read};
pub use pyc::Pyc;
pub use reader::{DuplicateBlobs, ImageContents, LayerReader, Side, limits};
