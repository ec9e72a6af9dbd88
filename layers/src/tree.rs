//! The content of an image before it is encoded: source mappings and entries.

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

/// Maps a directory or file of this machine to a path in the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceMapping {
    /// The path on this machine.
    pub host: PathBuf,
    /// The path in the image. Its parent directories belong to the base image and are not written.
    pub image: ImagePath,
    /// The owner of all its entries in the image, independent of the owner on this machine.
    pub owner: Owner,
}

/// One file, directory or symbolic link of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its path in the image.
    pub path: ImagePath,
    /// Its type.
    pub kind: EntryKind,
    /// Modification time in seconds since 1970, from [`crate::mtime::MtimePolicy`], never from the
    /// disk.
    pub mtime: i64,
    /// The mapping that it comes from.
    pub mapping: Arc<SourceMapping>,
}

/// The type of an entry. There are no others: [`crate::walk`] rejects sockets, FIFOs and devices, and
/// hard links become separate files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A directory.
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
        /// The target as stored: it may be absolute, dangling, or not UTF-8.
        target: Arc<[u8]>,
    },
}

impl Entry {
    /// The entry's path on this machine.
    pub fn host(&self) -> PathBuf {
        match self.path.below(&self.mapping.image) {
            None | Some([]) => self.mapping.host.clone(),
            Some(below) => self.mapping.host.join(Path::new(OsStr::from_bytes(below))),
        }
    }

    /// The length of its content in bytes; zero for directories and links.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory | EntryKind::Symlink { .. } => 0,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}
