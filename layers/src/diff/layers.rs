//! Compares two lists of layers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::compare::{Cause, compare};
use super::listing::Listing;
use super::merge::Tree;
use super::reader::ImageContents;
use crate::digest::{DiffId, Digest};
use crate::image::layer_names;
use crate::source::ResolvedImage;

/// A layer with its position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct PlacedLayer {
    /// The position; that of the lowest layer is 0.
    pub position: usize,
    /// The blob's digest.
    pub digest: Digest,
    /// The tar's digest.
    pub diff_id: DiffId,
    /// The blob's length in bytes.
    pub size: u64,
}

/// A layer that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct LayerChange {
    /// The name, if Carafe created the layer.
    pub name: Option<String>,
    /// The layer in the first image.
    pub want: Option<PlacedLayer>,
    /// The layer in the second image.
    pub got: Option<PlacedLayer>,
    /// The causes, and the number of entries with each; 1 for a cause of the layer itself.
    pub causes: BTreeMap<Cause, u64>,
}

pub(super) fn layers(one: &ImageContents<'_>, other: &ImageContents<'_>) -> Vec<LayerChange> {
    let (want, got) = (one.side.image, other.side.image);
    let (wants, gots) = (&one.listings, &other.listings);
    let pairs = pairs(want, got);
    let moved = moved(&pairs);
    let names = [layer_names(want), layer_names(got)];
    let change = |&(one, other): &(Option<usize>, Option<usize>)| {
        let (one_at, other_at) = (one.map(|at| placed(want, at)), other.map(|at| placed(got, at)));
        let mut causes = match (&one_at, &other_at) {
            (Some(one), Some(other)) if one.diff_id == other.diff_id => {
                BTreeMap::from_iter((one.digest != other.digest).then_some((Cause::Compression, 1)))
            }
            (Some(one), Some(other)) => entry_causes(&wants[one.position], &gots[other.position]),
            (None, _) => BTreeMap::from([(Cause::Added, 1)]),
            (_, None) => BTreeMap::from([(Cause::Removed, 1)]),
        };
        if other.is_some_and(|at| moved.contains(&at)) {
            causes.insert(Cause::Order, 1);
        }
        let name = one.map_or_else(|| other.and_then(|at| names[1][at]), |at| names[0][at]);
        LayerChange { name: name.map(str::to_owned), want: one_at, got: other_at, causes }
    };
    pairs.iter().map(change).filter(|change| !change.causes.is_empty()).collect()
}

fn placed(image: &ResolvedImage, position: usize) -> PlacedLayer {
    let layer = &image.manifest.layers[position];
    let diff_id = image.config.rootfs.diff_ids[position];
    PlacedLayer { position, digest: layer.digest, diff_id, size: layer.size }
}

/// The corresponding layers: first those with the same tar, then those with the same name.
fn pairs(want: &ResolvedImage, got: &ResolvedImage) -> Vec<(Option<usize>, Option<usize>)> {
    let diff_ids = [want, got].map(|image| &image.config.rootfs.diff_ids);
    let names = [layer_names(want), layer_names(got)];
    let mut free: BTreeSet<usize> = (0..diff_ids[1].len()).collect();
    let mut partners = vec![None; diff_ids[0].len()];
    let mut match_by = |same: &dyn Fn(usize, usize) -> bool| {
        for (one, partner) in partners.iter_mut().enumerate().filter(|(_, partner)| partner.is_none()) {
            *partner = free.iter().copied().find(|&other| same(one, other));
            partner.iter().for_each(|other| {
                free.remove(other);
            });
        }
    };
    match_by(&|one, other| diff_ids[0][one] == diff_ids[1][other]);
    match_by(&|one, other| names[0][one] == names[1][other]);
    let matched = partners.into_iter().enumerate().map(|(one, other)| (Some(one), other));
    matched.chain(free.into_iter().map(|other| (None, Some(other)))).collect()
}

/// Positions in the second image of layers that are below a layer that is below them in the first.
fn moved(pairs: &[(Option<usize>, Option<usize>)]) -> BTreeSet<usize> {
    let mut highest = None;
    let mut moved = BTreeSet::new();
    for other in pairs.iter().filter(|(one, _)| one.is_some()).filter_map(|(_, other)| *other) {
        match highest {
            Some(at) if other < at => {
                moved.insert(other);
            }
            _ => highest = Some(other),
        }
    }
    moved
}

fn entry_causes(want: &Listing, got: &Listing) -> BTreeMap<Cause, u64> {
    let mut causes = BTreeMap::new();
    for change in compare(&Tree::of_layer(want), &Tree::of_layer(got)) {
        for cause in change.causes() {
            *causes.entry(cause).or_insert(0) += 1;
        }
    }
    if reordered(want, got) {
        causes.insert(Cause::Order, 1);
    }
    if causes.is_empty() {
        causes.insert(Cause::Framing, 1);
    }
    causes
}

/// Whether the common entries are in another order.
fn reordered(want: &Listing, got: &Listing) -> bool {
    let positions: HashMap<&[u8], usize> =
        want.items.iter().enumerate().map(|(at, item)| (&*item.path, at)).collect();
    let order: Vec<usize> = got.items.iter().filter_map(|item| positions.get(&*item.path).copied()).collect();
    !order.is_sorted()
}
