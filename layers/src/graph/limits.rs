//! Limits of a graph: an untrusted index may name anything.

use crate::source::{ImageSource, SourceError};

/// Maximum depth of nested indexes, the manifests at the bottom included.
pub const MAX_DEPTH: usize = 8;
/// Maximum number of manifests and indexes below one root.
pub const MAX_DOCUMENTS: usize = 1024;
/// Maximum total size of the manifests and indexes in bytes: they are held in memory.
pub const MAX_DOCUMENTS_BYTES: u64 = 32 << 20;
/// Maximum number of layers below one root, blobs that are neither layer nor config included.
pub const MAX_LAYERS: usize = 100_000;

pub(super) fn check_limit(
    source: &dyn ImageSource,
    what: &'static str,
    size: u64,
    limit: u64,
) -> Result<(), SourceError> {
    if size > limit {
        return Err(SourceError::TooLarge { what, image: source.name(), size, limit });
    }
    Ok(())
}
