//! Images in one tar file: the archive of `docker save`, and an OCI layout in a tar.
//!
//! Reading does not extract the archive: its index is read once, and blobs are streamed from their
//! position. The output of `docker save` since version 25 is both a docker archive and an OCI
//! layout; [`ArchiveSource`] prefers the OCI layout.
//!
//! A docker archive has no image manifest, so [`ArchiveSource`] derives one: its layers are those of the
//! archive as they are stored, in the order of `manifest.json`. The digest of an uncompressed layer is its
//! diff id in the config; that of a compressed layer (written by kaniko, ko and bazel) is computed. The
//! config's bytes are the archive's own, so the config digest is the image id that Docker shows.

mod file;
mod index;
mod names;
mod source;
mod writer;

pub use file::{ArchiveFile, DockerName};
pub use index::MAX_ARCHIVE_MEMBERS;
pub use source::ArchiveSource;
pub use writer::ArchiveWriter;
