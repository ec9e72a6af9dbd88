//! What differs between two images, and why.
//!
//! The way: every layer of both images is read once and verified ([`read`]), which leaves a
//! [`Listing`] of what each holds, without the contents. From the listings come each image's
//! merged tree, whiteouts applied, and from two trees the entries that differ, each with its
//! [`Cause`]s ([`Pair::entries`]). Layers ([`Pair::layers`]) and documents ([`documents`]) are
//! compared in the same way.
//!
//! Contents are never held: memory grows with the number of entries (about 250 bytes for each,
//! within [`limits`]) and not with their size.
//!
//! Numbers of devices are not compared; a layer that differs in nothing else has the cause
//! [`Cause::Framing`].

mod compare;
mod documents;
mod layers;
mod listing;
mod merge;
mod pyc;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::DiffId;
use crate::oci::Descriptor;
use crate::source::{ImageSource, ResolvedImage};
use crate::unpack::{Compression, Layer, UnpackError, UnpackLimits, read_layer};

pub use compare::{Cause, Difference, EntryChange};
pub use documents::{DocumentChange, documents};
pub use layers::{LayerChange, PlacedLayer};
use listing::Tally;
pub use listing::{Item, Listing, MAX_NOTE_BYTES, Notes};
use merge::Tree;
pub use pyc::Pyc;

/// Where an image is, and its documents.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Has the blobs.
    pub source: &'a dyn ImageSource,
    /// The documents, verified.
    pub image: &'a ResolvedImage,
}

/// Limits that hold for two images together, and keep the memory that is used beneath 256 MB.
pub fn limits() -> UnpackLimits {
    UnpackLimits { entries: 500_000, all_path_bytes: 64 << 20, ..UnpackLimits::default() }
}

/// What the layers of two images hold.
pub struct Pair<'a> {
    want: (Side<'a>, Vec<Arc<Listing>>),
    got: (Side<'a>, Vec<Arc<Listing>>),
}

/// Reads and verifies every layer of both images: its blob's length and digest, and its tar's
/// against the config's diff id. A blob that both have is unpacked once; the other copy's digest
/// is verified.
///
/// `progress` hears how many bytes of blobs are done, both images together.
pub fn read<'a>(
    want: Side<'a>,
    got: Side<'a>,
    limits: &UnpackLimits,
    notes: &Notes,
    progress: &dyn Fn(u64),
) -> Result<Pair<'a>, UnpackError> {
    let mut reader = Reader {
        limits,
        notes,
        progress,
        known: BTreeMap::new(),
        tally: Tally::default(),
        tar_bytes: 0,
        done: 0,
    };
    Ok(Pair { want: (want, reader.image(want)?), got: (got, reader.image(got)?) })
}

struct Reader<'a> {
    limits: &'a UnpackLimits,
    notes: &'a Notes,
    progress: &'a dyn Fn(u64),
    /// What was read, and how it was stored.
    known: BTreeMap<DiffId, (&'a Descriptor, Arc<Listing>)>,
    tally: Tally,
    tar_bytes: u64,
    /// Bytes of the blobs so far.
    done: u64,
}

impl<'a> Reader<'a> {
    fn image(&mut self, side: Side<'a>) -> Result<Vec<Arc<Listing>>, UnpackError> {
        let name = side.source.name();
        let layers = side.image.manifest.layers.iter().zip(&side.image.config.rootfs.diff_ids);
        let mut listings = Vec::new();
        for (descriptor, diff_id) in layers {
            let layer = Layer { image: &name, descriptor, diff_id: *diff_id };
            let listing = self.layer(side.source, &layer)?;
            self.known.entry(*diff_id).or_insert_with(|| (descriptor, Arc::clone(&listing)));
            listings.push(listing);
            self.done += descriptor.size;
            (self.progress)(self.done);
        }
        Ok(listings)
    }

    fn layer(&mut self, source: &dyn ImageSource, layer: &Layer<'_>) -> Result<Arc<Listing>, UnpackError> {
        let known = self.known.get(&layer.diff_id).cloned();
        if let Some((descriptor, listing)) = &known
            && descriptor.digest == layer.descriptor.digest
            && descriptor.size == layer.descriptor.size
            && Compression::of(&descriptor.media_type) == Some(layer.compression()?)
        {
            layer.check(source.blob(layer.descriptor)?)?;
            return Ok(Arc::clone(listing));
        }
        let (limits, notes, done, before) = (self.limits, self.notes, self.done, self.tar_bytes);
        let (progress, tally) = (self.progress, &mut self.tally);
        let (listing, bytes) =
            read_layer(source, layer, limits, before, &|bytes| progress(done + bytes), |tar| {
                let listing = match known {
                    Some((_, listing)) => listing::skip(tar, layer.descriptor.digest).map(|()| listing)?,
                    None => Arc::new(Listing::read(tar, layer.descriptor.digest, limits, notes, tally)?),
                };
                Ok((listing, tar.bytes()))
            })?;
        self.tar_bytes += bytes;
        Ok(listing)
    }
}

impl Pair<'_> {
    /// The paths of the merged trees that differ, in the order of their bytes.
    pub fn entries(&self) -> Result<Vec<EntryChange<'_>>, UnpackError> {
        let (want, got) = self.trees()?;
        Ok(compare::compare(&want, &got))
    }

    /// The layers that differ, the lowest first.
    pub fn layers(&self) -> Vec<LayerChange> {
        layers::layers((self.want.0.image, &self.want.1), (self.got.0.image, &self.got.1))
    }

    /// Every file of each merged tree, with what was noted of it: `want`'s, and `got`'s.
    pub fn files(&self) -> Result<[Vec<&Item>; 2], UnpackError> {
        let (want, got) = self.trees()?;
        Ok([want.files(), got.files()])
    }

    fn trees(&self) -> Result<(Tree<'_>, Tree<'_>), UnpackError> {
        Ok((merged(&self.want)?, merged(&self.got)?))
    }
}

fn merged<'b>((side, listings): &'b (Side<'_>, Vec<Arc<Listing>>)) -> Result<Tree<'b>, UnpackError> {
    let mut tree = Tree::default();
    for (layer, listing) in side.image.manifest.layers.iter().zip(listings) {
        tree.apply(listing, layer.digest)?;
    }
    Ok(tree)
}
