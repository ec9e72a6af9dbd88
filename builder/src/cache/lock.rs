//! File locks between processes. The kernel releases a lock when its holder dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Opens the file at `path`, creates it if it does not exist, and locks it.
pub(super) fn open_locked(path: &Path, operation: FlockOperation) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    flock(&file, operation)?;
    Ok(file)
}
