//! What differs between two images, and why.
//!
//! The way: every layer of both images is read once and verified ([`read`]), which leaves a
//! [`Listing`] of what each holds, without the contents. From the listings come each image's
//! merged tree, whiteouts applied, and from two trees the entries that differ, each with its
//! [`Cause`]s ([`Trees::entries`]). Layers ([`Pair::layers`]) and documents ([`documents`]) are
//! compared in the same way.
//!
//! Contents are never held: memory grows with the number of entries (about 250 bytes for each,
//! within [`limits`]) and not with their size.

mod compare;
mod documents;
mod layers;
mod listing;
mod merge;
mod pyc;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::DiffId;
use crate::oci::{Descriptor, total_size};
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
    want: Contents<'a>,
    got: Contents<'a>,
}

/// What the layers of an image hold.
pub struct Contents<'a> {
    side: Side<'a>,
    listings: Vec<Arc<Listing>>,
}

/// Reads and verifies every layer of both images, the first one's first: see [`Reading::image`].
///
/// `progress` hears how many bytes of blobs are done, both images together.
pub fn read<'a>(
    want: Side<'a>,
    got: Side<'a>,
    limits: &UnpackLimits,
    notes: &Notes,
    progress: &dyn Fn(u64),
) -> Result<Pair<'a>, UnpackError> {
    let mut reading = Reading::new(limits, notes);
    let (want, before) = (reading.image(want, Repeated::Read, progress)?, want.bytes());
    let got = reading.image(got, Repeated::Read, &|bytes| progress(before + bytes))?;
    Ok(Pair { want, got })
}

impl Side<'_> {
    /// Bytes of all layers, as the manifest has them.
    pub fn bytes(&self) -> u64 {
        total_size(&self.image.manifest.layers)
    }
}

/// What is done about a blob that an image before had, by the same digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeated {
    /// It is read, and its digest verified: this copy is somebody's, and may be damaged.
    Read,
    /// It is left alone: what an image that names this digest has in it is known.
    Skipped,
}

/// Images that are read one after the other, within limits that hold for all of them.
pub struct Reading<'a> {
    limits: UnpackLimits,
    notes: Notes,
    /// What was read, and how it was stored.
    known: BTreeMap<DiffId, (&'a Descriptor, Arc<Listing>)>,
    tally: Tally,
    tar_bytes: u64,
}

impl<'a> Reading<'a> {
    /// Nothing is read yet.
    pub fn new(limits: &UnpackLimits, notes: &Notes) -> Self {
        let (limits, notes) = (limits.clone(), *notes);
        Self { limits, notes, known: BTreeMap::new(), tally: Tally::default(), tar_bytes: 0 }
    }

    /// Reads and verifies every layer of an image: its blob's length and digest, and its tar's
    /// against the config's diff id. A blob that an image before this one had is not unpacked
    /// again, and `repeated` says whether this copy of it is read at all.
    ///
    /// `progress` hears how many bytes of this image's blobs are done.
    pub fn image(
        &mut self,
        side: Side<'a>,
        repeated: Repeated,
        progress: &dyn Fn(u64),
    ) -> Result<Contents<'a>, UnpackError> {
        let name = side.source.name();
        let layers = side.image.manifest.layers.iter().zip(&side.image.config.rootfs.diff_ids);
        let (mut listings, mut done) = (Vec::new(), 0);
        for (descriptor, diff_id) in layers {
            let layer = Layer { image: &name, descriptor, diff_id: *diff_id };
            let listing = self.layer(side.source, &layer, repeated, &|bytes| progress(done + bytes))?;
            self.known.entry(*diff_id).or_insert_with(|| (descriptor, Arc::clone(&listing)));
            listings.push(listing);
            done += descriptor.size;
            progress(done);
        }
        Ok(Contents { side, listings })
    }

    fn layer(
        &mut self,
        source: &dyn ImageSource,
        layer: &Layer<'_>,
        repeated: Repeated,
        progress: &dyn Fn(u64),
    ) -> Result<Arc<Listing>, UnpackError> {
        let known = self.known.get(&layer.diff_id).cloned();
        if let Some((descriptor, listing)) = &known
            && descriptor.digest == layer.descriptor.digest
            && descriptor.size == layer.descriptor.size
            && Compression::of(&descriptor.media_type) == Some(layer.compression()?)
        {
            if repeated == Repeated::Read {
                layer.check(source.blob(layer.descriptor)?)?;
            }
            return Ok(Arc::clone(listing));
        }
        let Self { limits, notes, tally, .. } = self;
        let (listing, bytes) = read_layer(source, layer, limits, self.tar_bytes, progress, |tar| {
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

impl<'a> Pair<'a> {
    /// Of two images that one [`Reading`] read.
    pub fn of(want: Contents<'a>, got: Contents<'a>) -> Self {
        Self { want, got }
    }

    /// The layers that differ, the lowest first.
    pub fn layers(&self) -> Vec<LayerChange> {
        layers::layers(&self.want, &self.got)
    }

    /// What a container of each image sees. Every layer is merged for it: ask once.
    pub fn trees(&self) -> Result<Trees<'_>, UnpackError> {
        Ok(Trees { want: self.want.merged()?, got: self.got.merged()? })
    }
}

/// What a container of each of two images sees.
pub struct Trees<'a> {
    want: Tree<'a>,
    got: Tree<'a>,
}

impl<'a> Trees<'a> {
    /// The paths that differ, in the order of their bytes.
    pub fn entries(&self) -> Vec<EntryChange<'a>> {
        compare::compare(&self.want, &self.got)
    }

    /// Every file of each, with what was noted of it: `want`'s, and `got`'s.
    pub fn files(&self) -> [Vec<&'a Item>; 2] {
        [self.want.files(), self.got.files()]
    }
}

impl Contents<'_> {
    fn merged(&self) -> Result<Tree<'_>, UnpackError> {
        let mut tree = Tree::default();
        for (layer, listing) in self.side.image.manifest.layers.iter().zip(&self.listings) {
            tree.apply(listing, layer.digest)?;
        }
        Ok(tree)
    }
}
