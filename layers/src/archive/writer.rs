//! Writing an OCI layout as one tar stream: the same blobs in the same order give the same bytes.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::names::{BLOBS, DOCKER_MANIFEST};
use crate::digest::Digest;
use crate::format::FIXED_MTIME;
use crate::json::canonical_json;
use crate::layout::{INDEX, MARKER, MARKER_CONTENT};
use crate::oci::{Descriptor, Index, Manifest};
use crate::path::ImagePath;
use crate::tar_writer::TarWriter;
use crate::tree::{Entry, EntryKind, Owner, SourceMapping};
use crate::verified::VerifiedReader;

const BUFFER_BYTES: usize = 256 << 10;

/// An OCI layout that is being written into a tar stream. Without [`Self::finish`] the stream has no end
/// mark, and is incomplete.
pub struct ArchiveWriter<W> {
    tar: TarWriter<W>,
    mapping: Arc<SourceMapping>,
    written: BTreeSet<Digest>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins a layout with the one image `root` in its index.
    pub fn new(out: W, root: &Descriptor) -> io::Result<Self> {
        Self::with_entries(out, vec![root.clone()])
    }

    /// Begins a layout with these entries in its index.
    pub(super) fn with_entries(out: W, entries: Vec<Descriptor>) -> io::Result<Self> {
        let owner = Owner { uid: 0, gid: 0 };
        let mapping = SourceMapping { host: PathBuf::new(), image: ImagePath::root(), owner };
        let mut archive =
            Self { tar: TarWriter::new(out), mapping: Arc::new(mapping), written: BTreeSet::new() };
        archive.document(MARKER, MARKER_CONTENT.as_bytes())?;
        archive.document(INDEX, &canonical_json(&Index::of(entries)))?;
        Ok(archive)
    }

    /// Adds the list of images for `docker load`: the image with this manifest, under `names`.
    pub(super) fn docker_manifest(&mut self, manifest: &Manifest, names: &[&str]) -> io::Result<()> {
        let layers: Vec<_> = manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect();
        let image =
            json!({"Config": blob_name(&manifest.config.digest), "RepoTags": names, "Layers": layers});
        self.document(DOCKER_MANIFEST, &canonical_json(&[image]))
    }

    /// Whether a blob of this digest was written.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }

    /// Writes a blob, unless it was already written. After an error (also after that of a blob that
    /// does not match its descriptor) the archive is unusable.
    pub fn put(&mut self, blob: &Descriptor, stream: impl Read) -> io::Result<()> {
        if !self.written.insert(blob.digest) {
            return Ok(());
        }
        self.begin(&blob_name(&blob.digest), blob.size)?;
        let mut stream = VerifiedReader::new(stream, blob);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.tar.content(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the archive and returns the writer.
    pub fn finish(self) -> io::Result<W> {
        self.tar.finish()
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.tar.content(bytes)
    }

    fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        let path = ImagePath::new(name).map_err(io::Error::other)?;
        let kind = EntryKind::File { size, executable: false };
        self.tar.entry(&Entry { path, kind, mtime: FIXED_MTIME, mapping: Arc::clone(&self.mapping) })
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveSource;
    use crate::oci::media_type;
    use crate::source::ImageSource;

    fn archive(blobs: &[(&Descriptor, &[u8])], root: &Descriptor) -> io::Result<Vec<u8>> {
        let mut archive = ArchiveWriter::new(Vec::new(), root)?;
        for (descriptor, bytes) in blobs {
            archive.put(descriptor, *bytes)?;
        }
        archive.finish()
    }

    #[test]
    fn reads_back_what_was_written() {
        let (manifest, empty) = (&b"{}"[..], &b""[..]);
        let root = Descriptor::of(media_type::MANIFEST, manifest);
        let nothing = Descriptor::of("x", empty);
        let written = [(&nothing, empty), (&root, manifest), (&root, manifest)];
        let bytes = archive(&written, &root).unwrap();
        assert_eq!(bytes, archive(&written[..2], &root).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        let source = ArchiveSource::open(&path, None).unwrap();
        assert_eq!(source.root().unwrap(), (root, manifest.to_vec()));
        let mut read = Vec::new();
        source.blob(&nothing).unwrap().read_to_end(&mut read).unwrap();
        assert!(read.is_empty());
    }

    #[test]
    fn rejects_a_blob_that_does_not_match_its_descriptor() {
        let root = Descriptor::of(media_type::MANIFEST, b"{}");
        for wrong in [&b"{]"[..], b"{", b"{}}"] {
            assert!(archive(&[(&root, wrong)], &root).is_err());
        }
    }
}
