//! Unpacks the layers of an image below a root directory, as root or as an ordinary user.
//!
//! Each layer takes these steps: one thread hashes the blob, decompresses it and hashes the tar
//! (`stream`); the caller's thread reads the tar ([`crate::tar_reader`]), checks each entry (`apply`)
//! and creates it below the root (`tree`).
//!
//! The result is one plain tree: whiteouts are applied and removed. All of it belongs to the current
//! user, so that an ordinary user without subordinate ids gets the same tree as root:
//! - modes are kept, but without setuid and setgid, and the owner may always read and write
//!   (and enter directories);
//! - devices and named pipes, extended attributes and owners are skipped, and counted;
//! - mtimes are kept in whole seconds between 1970 and 2106.
//!
//! Sparse files are rejected. Entries after the end mark of a tar are ignored, although they are part
//! of the digests.
//!
//! Nothing is synced: a caller that publishes the root (unpacks into a temporary directory, and renames
//! it on success) calls `syncfs` once before the rename. After an error, the incomplete tree remains and
//! must not be used.

mod apply;
mod decompress;
mod error;
mod image;
mod limits;
mod paths;
mod stats;
mod stream;
mod tree;

pub(crate) use decompress::Compression;
pub(crate) use error::EntryError;
pub use error::UnpackError;
pub use image::unpack_image;
pub use limits::UnpackLimits;
pub(crate) use limits::within;
pub(crate) use paths::{AUFS, OPAQUE, WHITEOUT, join, names_reversed, normalize, split};
pub use stats::UnpackStats;
pub(crate) use stream::{Layer, TarStream, read_layer};
