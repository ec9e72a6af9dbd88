//! Limits on the content of untrusted images.

use super::error::EntryError;
use crate::source::MAX_LAYERS;

/// Limits on the content of an image. The defaults are far above every known build image, and protect
/// the machine's memory and disk.
#[derive(Clone, Debug)]
pub struct UnpackLimits {
    /// Number of layers.
    pub layers: usize,
    /// Total size of the layers' tars in bytes.
    pub bytes: u64,
    /// Size of one file in bytes.
    pub file_bytes: u64,
    /// Number of entries of all layers, implicit directories included.
    pub entries: u64,
    /// Length of one path in bytes; the kernel's own limit is 4096.
    pub path_bytes: usize,
    /// Number of names in one path.
    pub depth: usize,
    /// Total length of all paths in bytes, those that are read and those that are stored. Bounds the
    /// memory.
    pub all_path_bytes: u64,
    /// Compression ratio: the size of a layer's tar divided by that of its blob.
    pub ratio: u64,
    /// Size in bytes of a layer's tar from which [`Self::ratio`] is enforced.
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

/// Checks `value` against a limit. `what` is what it counts, such as `entries`.
pub(crate) fn within(what: &'static str, value: u64, limit: u64) -> Result<(), EntryError> {
    if value > limit { Err(EntryError::Limit { what, limit }) } else { Ok(()) }
}
