//! Atomic replacement of files.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Readable by all users: the files are committed beside the spec.
const MODE: u32 = 0o644;

/// Replaces the file at `path` by one with `bytes`, atomically: after a kill or a power failure there
/// is either the old file or the complete new one. The mode becomes 0644.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
