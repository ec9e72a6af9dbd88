//! Unpacks all layers of an image.

use std::cell::Cell;
use std::io;
use std::path::Path;

use super::apply::LayerApplier;
use super::error::UnpackError;
use super::limits::UnpackLimits;
use super::stats::UnpackStats;
use super::stream::{Layer, read_layer};
use super::tree::{PathLimits, Tree};
use crate::source::{ImageSource, ResolvedImage, check_layers};
use crate::text::escape_path;

/// Unpacks the layers of `image` into `root`, which must be an existing empty directory.
///
/// Verifies each layer's blob against its descriptor and its tar against the config's diff id, at the
/// end of the layer: after an error the tree must not be used. Calls `progress` with the number of
/// bytes of all layers' blobs so far. Memory: some MB for buffers (for zstd, up to its window of
/// 128 MiB), and the paths of directories and of the entries of upper layers.
pub fn unpack_image(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    root: &Path,
    limits: &UnpackLimits,
    progress: &dyn Fn(u64),
) -> Result<UnpackStats, UnpackError> {
    let layers = &image.manifest.layers;
    check_layers(source, &image.manifest, &image.config, limits.layers)?;
    let mut applier = LayerApplier::new(open_root(root, limits)?, limits);
    let done = Cell::new(0);
    let name = source.name();
    for (descriptor, diff_id) in layers.iter().zip(&image.config.rootfs.diff_ids) {
        let layer = Layer { image: &name, descriptor, diff_id: *diff_id };
        unpack_layer(source, &layer, &mut applier, &|bytes| progress(done.get() + bytes))?;
        done.set(done.get() + descriptor.size);
    }
    applier.finish().map_err(|source| UnpackError::Root { root: escape_path(root), source })
}

fn open_root(root: &Path, limits: &UnpackLimits) -> Result<Tree, UnpackError> {
    Tree::new(root, PathLimits { bytes: limits.path_bytes, depth: limits.depth }).map_err(|source| {
        let root = escape_path(root);
        match source.kind() {
            io::ErrorKind::Unsupported => UnpackError::NoOpenat2 { root, source },
            _ => UnpackError::Root { root, source },
        }
    })
}

fn unpack_layer(
    source: &dyn ImageSource,
    layer: &Layer<'_>,
    applier: &mut LayerApplier<'_>,
    progress: &dyn Fn(u64),
) -> Result<(), UnpackError> {
    let (limits, before) = (applier.limits(), applier.tar_bytes());
    read_layer(source, layer, limits, before, progress, |tar| applier.apply(tar, layer.descriptor.digest))
}
