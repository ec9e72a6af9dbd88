//! Reads and verifies the layers of images.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::listing::{Extractor, Listing, Usage, drain};
use super::merge::Tree;
use crate::digest::DiffId;
use crate::oci::{Descriptor, total_size};
use crate::source::{ImageSource, ResolvedImage};
use crate::unpack::{Compression, Layer, UnpackError, UnpackLimits, read_layer};

/// An image to be compared.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The source of its blobs.
    pub source: &'a dyn ImageSource,
    /// Its documents, verified.
    pub image: &'a ResolvedImage,
}

impl Side<'_> {
    /// The total size of the layers' blobs in bytes, according to the manifest.
    pub fn bytes(&self) -> u64 {
        total_size(&self.image.manifest.layers)
    }
}

/// Limits for two images together, which keep memory below 256 MB.
pub fn limits() -> UnpackLimits {
    UnpackLimits { entries: 500_000, all_path_bytes: 64 << 20, ..UnpackLimits::default() }
}

/// The contents of an image's layers.
pub struct ImageContents<'a> {
    pub(super) side: Side<'a>,
    pub(super) listings: Vec<Arc<Listing>>,
}

impl ImageContents<'_> {
    /// The file system of a container of the image.
    pub(super) fn merged(&self) -> Result<Tree<'_>, UnpackError> {
        let mut tree = Tree::default();
        for (layer, listing) in self.side.image.manifest.layers.iter().zip(&self.listings) {
            tree.apply(listing, layer.digest)?;
        }
        Ok(tree)
    }
}

/// How to treat a blob if an earlier image had a blob of the same digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DuplicateBlobs {
    /// Read it and verify its digest, because this copy may be damaged.
    Verify,
    /// Do not read it: its digest already determines its content.
    Skip,
}

/// Reads images one after the other, within limits for all of them together.
pub struct LayerReader<'a> {
    limits: UnpackLimits,
    extractor: Extractor,
    /// The layers that were read, with their blobs.
    known: BTreeMap<DiffId, (&'a Descriptor, Arc<Listing>)>,
    usage: Usage,
    tar_bytes: u64,
}

impl<'a> LayerReader<'a> {
    /// A reader that has not read an image yet.
    pub fn new(limits: &UnpackLimits, extractor: &Extractor) -> Self {
        let (limits, extractor) = (limits.clone(), *extractor);
        Self { limits, extractor, known: BTreeMap::new(), usage: Usage::default(), tar_bytes: 0 }
    }

    /// Reads and verifies every layer of an image: the length and digest of its blob, and its tar
    /// against the config's diff id. A blob that an earlier image had is not decompressed again;
    /// `duplicates` decides whether it is read at all.
    ///
    /// Calls `progress` with the number of bytes of this image's blobs that were read.
    pub fn read(
        &mut self,
        side: Side<'a>,
        duplicates: DuplicateBlobs,
        progress: &dyn Fn(u64),
    ) -> Result<ImageContents<'a>, UnpackError> {
        let name = side.source.name();
        let layers = side.image.manifest.layers.iter().zip(&side.image.config.rootfs.diff_ids);
        let (mut listings, mut done) = (Vec::new(), 0);
        for (descriptor, diff_id) in layers {
            let layer = Layer { image: &name, descriptor, diff_id: *diff_id };
            let listing = self.layer(side.source, &layer, duplicates, &|bytes| progress(done + bytes))?;
            self.known.entry(*diff_id).or_insert_with(|| (descriptor, Arc::clone(&listing)));
            listings.push(listing);
            done += descriptor.size;
            progress(done);
        }
        Ok(ImageContents { side, listings })
    }

    fn layer(
        &mut self,
        source: &dyn ImageSource,
        layer: &Layer<'_>,
        duplicates: DuplicateBlobs,
        progress: &dyn Fn(u64),
    ) -> Result<Arc<Listing>, UnpackError> {
        let known = self.known.get(&layer.diff_id).cloned();
        if let Some((descriptor, listing)) = &known
            && descriptor.digest == layer.descriptor.digest
            && descriptor.size == layer.descriptor.size
            && Compression::of(&descriptor.media_type) == Some(layer.compression()?)
        {
            if duplicates == DuplicateBlobs::Verify {
                layer.check(source.blob(layer.descriptor)?)?;
            }
            return Ok(Arc::clone(listing));
        }
        let Self { limits, extractor, usage, .. } = self;
        let (listing, bytes) = read_layer(source, layer, limits, self.tar_bytes, progress, |tar| {
            let listing = match known {
                Some((_, listing)) => drain(tar, layer.descriptor.digest).map(|()| listing)?,
                None => Arc::new(Listing::read(tar, layer.descriptor.digest, limits, extractor, usage)?),
            };
            Ok((listing, tar.bytes()))
        })?;
        self.tar_bytes += bytes;
        Ok(listing)
    }
}
