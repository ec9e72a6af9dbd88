//! What goes into an image, before it is bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::path::ImagePath;

/// Numeric owner of files in the image; names are never written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// One folder or file on disk that becomes a path in the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Graft {
    /// Where it lies on this machine.
    pub host: PathBuf,
    /// Where it goes in the image. Folders above it are the base image's business and are not
    /// written.
    pub image: ImagePath,
    /// Who owns all of it in the image, whoever owns it here.
    pub owner: Owner,
}

/// One file, folder or symbolic link of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its path in the image.
    pub path: ImagePath,
    /// What it is.
    pub kind: EntryKind,
    /// Modification time in seconds since 1970, by [`crate::mtime::MtimePolicy`], never read.
    pub mtime: i64,
    /// Where it came from.
    pub graft: Arc<Graft>,
}

/// What an entry is. There is nothing else: sockets, fifos and devices are refused, and hard
/// links are files of their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// What it points at, as stored: it may be absolute, dangling, or not UTF-8.
        target: Arc<[u8]>,
    },
}

impl Entry {
    /// Where the entry lies on this machine.
    pub fn host(&self) -> PathBuf {
        match self.path.below(&self.graft.image) {
            None | Some([]) => self.graft.host.clone(),
            Some(below) => self.graft.host.join(Path::new(OsStr::from_bytes(below))),
        }
    }

    /// The bytes of its content; zero for folders and links.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Symlink { .. } => 0,
        }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}
