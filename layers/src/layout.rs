//! An OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/sha256/`.

mod source;
mod writer;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use crate::oci::{Descriptor, Index, StringMap, media_type};
use crate::source::MAX_DOCUMENT_BYTES;

pub use source::LayoutSource;
pub use writer::{BlobWriter, LayoutError, LayoutWriter};

pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX: &str = "index.json";
const BLOBS: [&str; 2] = ["blobs", "sha256"];

/// The annotation by which an index names an image, such as a tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Somewhere images are written to: a layout, an archive.
pub trait ImageSink: Sync {
    /// Whether a blob of this digest and size is there. Its bytes are not read.
    fn contains(&self, blob: &Descriptor) -> bool;

    /// Stores a stream that must have `blob`'s digest and size. What has not is never seen.
    /// `origin` is for messages.
    fn put(&self, blob: &Descriptor, stream: &mut dyn Read, origin: &Path) -> Result<(), LayoutError>;
}

/// An OCI index of these entries.
pub fn index_of(manifests: Vec<Descriptor>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.to_owned()),
        manifests,
        annotations: StringMap::new(),
        extra: Default::default(),
    }
}

/// Opens a regular file below `root` without following any link on the way down: a layout may
/// come from anywhere, and must not lead out of its folder.
fn open_below(root: &Path, names: &[&str]) -> io::Result<File> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(root, folder, Mode::empty())?;
    let Some((file, folders)) = names.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
    for name in folders {
        at = openat(&at, *name, folder | OFlags::NOFOLLOW, Mode::empty()).map_err(explain)?;
    }
    // NONBLOCK: a fifo in the file's place must not make us wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&at, *file, flags, Mode::empty()).map_err(explain)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

fn explain(error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => {
            io::Error::other("a symbolic link is on the way, and a layout must not lead out of its folder")
        }
        error => error.into(),
    }
}

/// Reads a document of at most [`MAX_DOCUMENT_BYTES`].
fn read_document(root: &Path, names: &[&str]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_below(root, names)?.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(io::Error::other("it is longer than 4 MiB"));
    }
    Ok(bytes)
}
