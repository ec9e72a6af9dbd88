//! Constants that decide an image's bytes. Changing any value here is a format break: it needs a
//! new [`FormatVersion`], a golden digest for it, and an entry under 'Image bytes' in the changelog.

use serde::{Deserialize, Serialize};

/// The numbered set of rules by which a tree becomes bytes. A lock names one; every version of Carafe
/// can still write all earlier formats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum FormatVersion {
    /// The first format: see `docs/format.md`.
    V1,
}

/// A lock or an image names a format that this version of Carafe does not support.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("unknown format-version {version}: this version of carafe supports 1")]
#[diagnostic(help("use a newer version of carafe, or run `carafe lock` again with this one"))]
pub struct UnknownFormat {
    version: u32,
}

impl FormatVersion {
    /// The format of new locks.
    pub const CURRENT: Self = Self::V1;
}

impl TryFrom<u32> for FormatVersion {
    type Error = UnknownFormat;

    fn try_from(version: u32) -> Result<Self, UnknownFormat> {
        match version {
            1 => Ok(Self::V1),
            _ => Err(UnknownFormat { version }),
        }
    }
}

impl From<FormatVersion> for u32 {
    fn from(version: FormatVersion) -> Self {
        match version {
            FormatVersion::V1 => 1,
        }
    }
}

/// The mtime of directories and third-party files, which must not change between releases:
/// 1980-01-01T00:00:00Z, the earliest time that zip (and so Python's wheels and zipimport) can store.
pub const FIXED_MTIME: i64 = 315_532_800;

/// Uncompressed bytes in one block of the parallel gzip; see [`crate::gzip`].
pub const GZIP_BLOCK: usize = 1 << 20;

/// Bytes before each block to which deflate may refer.
pub const GZIP_DICTIONARY: usize = 32 << 10;

/// The deflate level of every layer.
pub const GZIP_LEVEL: u32 = 6;

/// Mode of directories and of files that are executable by their owner.
pub const MODE_EXECUTABLE: u32 = 0o755;

/// Mode of all other files.
pub const MODE_PLAIN: u32 = 0o644;

/// Mode of symbolic links, which Linux ignores.
pub const MODE_SYMLINK: u32 = 0o777;
