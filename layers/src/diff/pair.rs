//! Two images whose layers were read.

use super::compare::{EntryChange, compare};
use super::layers::{LayerChange, layers};
use super::listing::{Extractor, Item};
use super::merge::Tree;
use super::reader::{DuplicateBlobs, ImageContents, LayerReader, Side};
use crate::unpack::{UnpackError, UnpackLimits};

/// The contents of two images.
pub struct ImagePair<'a> {
    want: ImageContents<'a>,
    got: ImageContents<'a>,
}

/// Reads and verifies every layer of both images, the first image first: see [`LayerReader::read`].
///
/// Calls `progress` with the number of bytes of both images' blobs that were read.
pub fn read<'a>(
    want: Side<'a>,
    got: Side<'a>,
    limits: &UnpackLimits,
    extractor: &Extractor,
    progress: &dyn Fn(u64),
) -> Result<ImagePair<'a>, UnpackError> {
    let mut reader = LayerReader::new(limits, extractor);
    let (want, before) = (reader.read(want, DuplicateBlobs::Verify, progress)?, want.bytes());
    let got = reader.read(got, DuplicateBlobs::Verify, &|bytes| progress(before + bytes))?;
    Ok(ImagePair { want, got })
}

impl<'a> ImagePair<'a> {
    /// Two images that one [`LayerReader`] read.
    pub fn of(want: ImageContents<'a>, got: ImageContents<'a>) -> Self {
        Self { want, got }
    }

    /// The layers that differ, the lowest first.
    pub fn layers(&self) -> Vec<LayerChange> {
        layers(&self.want, &self.got)
    }

    /// The file systems of containers of both images. Merges all layers on each call.
    pub fn trees(&self) -> Result<Trees<'_>, UnpackError> {
        Ok(Trees { want: self.want.merged()?, got: self.got.merged()? })
    }
}

/// The file systems of containers of two images.
pub struct Trees<'a> {
    want: Tree<'a>,
    got: Tree<'a>,
}

impl<'a> Trees<'a> {
    /// The paths that differ, sorted by their bytes.
    pub fn entries(&self) -> Vec<EntryChange<'a>> {
        compare(&self.want, &self.got)
    }

    /// All files of the first and of the second image, with what the [`Extractor`] returned for them.
    pub fn files(&self) -> [Vec<&'a Item>; 2] {
        [self.want.files(), self.got.files()]
    }
}
