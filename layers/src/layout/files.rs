//! The files of a layout, and reading them without leaving its directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use crate::source::MAX_DOCUMENT_BYTES;

pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const MARKER_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX: &str = "index.json";
pub(super) const BLOBS: [&str; 2] = ["blobs", "sha256"];

/// Opens the regular file at the path `names` below `root` without following a symbolic link: an
/// untrusted layout must not lead out of its directory.
pub(super) fn open_below(root: &Path, names: &[&str]) -> io::Result<File> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(root, directory, Mode::empty())?;
    let Some((file, directories)) = names.split_last() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    for name in directories {
        at = openat(&at, *name, directory | OFlags::NOFOLLOW, Mode::empty()).map_err(explain)?;
    }
    // NONBLOCK: opening a FIFO must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, *file, flags, Mode::empty()).map_err(explain)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

fn explain(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => {
            io::Error::other("the path contains a symbolic link, which could lead out of the layout")
        }
        error => error.into(),
    }
}

/// Reads a document of at most [`MAX_DOCUMENT_BYTES`].
pub(super) fn read_document(root: &Path, names: &[&str]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_below(root, names)?.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(io::Error::other("the file is longer than 4 MiB"));
    }
    Ok(bytes)
}
