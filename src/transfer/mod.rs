//! Transfers of complete images to registries, layouts and archives, with unchanged digests. In this
//! order: `image` (one transfer to all its targets), `index` (several images under one index), `push`
//! (an image that was just built), `referrers` (the recording of an image), `report` (the result).

mod image;
pub mod index;
pub mod push;
pub mod referrers;
pub mod report;

pub use self::image::{Selection, Transfer};
