//! Paths of a layer's entries, as bytes relative to the root.

use super::error::EntryError;
use super::limits::{UnpackLimits, within};

/// The prefix of a whiteout's name.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The name of an opaque whiteout.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// The prefix of metadata of AUFS, which old Docker versions packed.
pub(crate) const AUFS: &[u8] = b".wh..wh.";

/// `directory/name`.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// A path's parent directory and last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The names in a path from last to first, without empty names and `.`.
pub(crate) fn names_reversed(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// The path of a tar member relative to the root: without empty names and `.`. An absolute name
/// starts at the root. Rejects `..`, which correct tools never write.
pub(crate) fn normalize(name: &[u8], limits: &UnpackLimits) -> Result<Vec<u8>, EntryError> {
    if name.is_empty() || name.contains(&0) {
        return EntryError::malformed("the path is empty or contains NUL");
    }
    within("bytes in one path", name.len() as u64, limits.path_bytes as u64)?;
    let names: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&b"..".as_slice()) {
        return EntryError::malformed("the path contains `..`");
    }
    within("directories in one path", names.len() as u64, limits.depth as u64)?;
    Ok(names.join(&b'/'))
}
