//! Lays an image's layers down beneath a root folder, as root or as an ordinary user.
//!
//! The way of a layer: the blob's bytes are hashed, decompressed and hashed again on one thread
//! (`stream`), and on the caller's read as tar ([`crate::untar`]), judged entry by entry
//! (`layer`) and laid down beneath the root (`tree`).
//!
//! The result is one plain tree: whiteouts are applied and gone. All of it belongs to whoever
//! runs, so that an ordinary user without further ids gets the same tree as root:
//! - modes are kept, but without setuid and setgid, and the owner may always read and write
//!   (and enter folders);
//! - devices and named pipes, extended attributes and owners are left out, and counted;
//! - mtimes are kept in whole seconds between 1970 and 2106.
//!
//! Sparse files are refused. Entries after a tar's end mark are ignored, though they belong to
//! the digests.
//!
//! Nothing is synced: whoever publishes the root (unpacks into a temporary folder, and renames
//! it on success) calls `syncfs` once before the rename. On an error, what was laid down so far
//! stays and is worth nothing.

mod decompress;
mod error;
mod layer;
mod stream;
mod tree;

pub(crate) use decompress::Compression;
pub(crate) use error::Fault;
pub use error::UnpackError;
pub(crate) use layer::{AUFS, OPAQUE, WHITEOUT, normalise, within};
pub(crate) use stream::{Layer, TarStream};

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::source::{ImageSource, MAX_LAYERS, ResolvedImage, SourceError};
use layer::Applier;
use stream::CHUNKS_AHEAD;
use tree::{PathLimits, Tree};

/// How much an image may hold. The defaults are far above any build root and far below what
/// would harm a machine.
#[derive(Clone, Debug)]
pub struct UnpackLimits {
    /// Layers.
    pub layers: usize,
    /// Bytes of all layers' tars together.
    pub bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Entries of all layers together, and folders that had to be made for them.
    pub entries: u64,
    /// Bytes of one path; the kernel's own limit is 4096.
    pub path_bytes: usize,
    /// Names in one path.
    pub depth: usize,
    /// Bytes of all paths together, those read and those remembered. Bounds the memory that is used.
    pub all_path_bytes: u64,
    /// How many times larger than its blob a layer's tar may be.
    pub ratio: u64,
    /// [`Self::ratio`] counts once a layer's tar has more bytes than this.
    pub ratio_floor: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            layers: MAX_LAYERS,
            bytes: 32 << 30,
            file_bytes: 8 << 30,
            entries: 2_000_000,
            path_bytes: 4095,
            depth: 255,
            all_path_bytes: 256 << 20,
            ratio: 200,
            ratio_floor: 256 << 20,
        }
    }
}

/// What became of an image, for reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unpacked {
    /// Entries read, whiteouts among them, and folders that had to be made for them.
    pub entries: u64,
    /// Bytes of the files that were written, also of those that a later layer hid.
    pub bytes: u64,
    /// Bytes of the layers' tars.
    pub tar_bytes: u64,
    /// Whiteouts, opaque ones among them.
    pub whiteouts: u64,
    /// Device nodes and named pipes that were left out, and hard links to them.
    pub left_out: u64,
    /// Entries of another owner than root, which belong to whoever runs.
    pub other_owners: u64,
    /// Entries whose setuid or setgid bit was dropped.
    pub set_ids_dropped: u64,
    /// Entries whose extended attributes (such as `security.capability`) were dropped.
    pub xattrs_dropped: u64,
}

/// Lays the layers of `image` down in `root`, which must be an existing empty folder.
///
/// Each layer's blob is verified against its descriptor and its tar against the config's diff
/// id, at the layer's end: on an error there is a tree that must not be used. `progress` hears
/// how many bytes of the layers' blobs are done, all layers together. Memory: some MB for
/// buffers (more for zstd, up to its window of 128 MiB), and the paths of folders and of what
/// later layers hold.
pub fn unpack_image(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    root: &Path,
    limits: &UnpackLimits,
    progress: &dyn Fn(u64),
) -> Result<Unpacked, UnpackError> {
    let layers = &image.manifest.layers;
    check_layers(source, image, limits)?;
    let mut applier = Applier::new(open_root(root, limits)?, limits);
    let done = Cell::new(0);
    let name = source.name();
    for (descriptor, diff_id) in layers.iter().zip(&image.config.rootfs.diff_ids) {
        let layer = Layer { image: &name, descriptor, diff_id: *diff_id };
        unpack_layer(source, &layer, &mut applier, &|bytes| progress(done.get() + bytes))?;
        done.set(done.get() + descriptor.size);
    }
    applier.finish().map_err(|source| UnpackError::Root { root: root.display().to_string(), source })
}

fn check_layers(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    limits: &UnpackLimits,
) -> Result<(), SourceError> {
    let (layers, diff_ids) = (image.manifest.layers.len(), image.config.rootfs.diff_ids.len());
    if layers > limits.layers {
        let (size, limit) = (layers as u64, limits.layers as u64);
        return Err(SourceError::TooLarge { what: "layers", image: source.name(), size, limit });
    }
    if layers != diff_ids {
        let reason = format!("its manifest has {layers} layers and its config {diff_ids} diff ids");
        return Err(SourceError::Invalid { image: source.name(), reason });
    }
    Ok(())
}

fn open_root(root: &Path, limits: &UnpackLimits) -> Result<Tree, UnpackError> {
    Tree::open(root, PathLimits { bytes: limits.path_bytes, depth: limits.depth }).map_err(|source| {
        let root = root.display().to_string();
        match source.kind() {
            io::ErrorKind::Unsupported => UnpackError::NoOpenat2 { root, source },
            _ => UnpackError::Root { root, source },
        }
    })
}

fn unpack_layer(
    source: &dyn ImageSource,
    layer: &Layer<'_>,
    applier: &mut Applier<'_>,
    progress: &dyn Fn(u64),
) -> Result<(), UnpackError> {
    let (limits, before) = (applier.limits(), applier.tar_bytes());
    read_layer(source, layer, limits, before, progress, |tar| applier.apply(tar, layer.descriptor.digest))
}

/// Gives a layer's tar to `read`, which takes all of it, and verifies the blob and the tar on the
/// way. `before` counts the tar bytes of the layers before this one, for the limits.
pub(crate) fn read_layer<T>(
    source: &dyn ImageSource,
    layer: &Layer<'_>,
    limits: &UnpackLimits,
    before: u64,
    progress: &dyn Fn(u64),
    read: impl FnOnce(&mut TarStream<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    layer.compression()?;
    let blob = source.blob(layer.descriptor)?;
    let (sender, receiver) = sync_channel(CHUNKS_AHEAD);
    thread::scope(|scope| {
        let verified = scope.spawn(move || layer.send(blob, &sender));
        let mut tar = TarStream::new(receiver, limits, before, progress);
        let done = read(&mut tar);
        drop(tar);
        let verified = verified.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match done {
            // A damaged blob is the better explanation for a tar that makes no sense.
            Err(UnpackError::Malformed { .. }) | Ok(_) => verified.and(done),
            refused => refused,
        }
    })
}
