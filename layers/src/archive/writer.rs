//! Writing an OCI layout as one tar file, as a stream: the same blobs in the same order give the
//! same bytes.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::BLOBS;
use crate::digest::Digest;
use crate::format::FIXED_MTIME;
use crate::json::canonical_json;
use crate::layout::{INDEX, MARKER, MARKER_TEXT, index_of};
use crate::oci::{Descriptor, Manifest};
use crate::path::ImagePath;
use crate::tarball::TarWriter;
use crate::tree::{Entry, EntryKind, Graft, Owner};
use crate::verified::Verified;

/// How much of a blob is held in memory.
const PIECE: usize = 1 << 18;

/// An OCI layout on its way into a tar file. Without [`Self::finish`] the file has no end, and no
/// reader accepts it.
pub struct ArchiveWriter<W> {
    tar: TarWriter<W>,
    graft: Arc<Graft>,
    written: BTreeSet<Digest>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins a layout whose one image is `root`: its index, then what is put.
    pub fn new(out: W, root: &Descriptor) -> io::Result<Self> {
        Self::with_entries(out, vec![root.clone()])
    }

    /// Begins a layout whose index has these entries.
    pub(super) fn with_entries(out: W, entries: Vec<Descriptor>) -> io::Result<Self> {
        let owner = Owner { uid: 0, gid: 0 };
        let graft = Graft { host: PathBuf::new(), image: ImagePath::root(), owner };
        let mut archive = Self { tar: TarWriter::new(out), graft: Arc::new(graft), written: BTreeSet::new() };
        archive.document(MARKER, MARKER_TEXT.as_bytes())?;
        archive.document(INDEX, &canonical_json(&index_of(entries)))?;
        Ok(archive)
    }

    /// Adds what `docker load` goes by: the image, named `names`, with this manifest.
    pub(super) fn saved(&mut self, manifest: &Manifest, names: &[&str]) -> io::Result<()> {
        let layers: Vec<_> = manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect();
        let image =
            json!({"Config": blob_name(&manifest.config.digest), "RepoTags": names, "Layers": layers});
        self.document("manifest.json", &canonical_json(&[image]))
    }

    /// Whether a blob of this digest was put.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }

    /// Writes a blob, or does nothing if it is there already. After an error (a blob that is not
    /// what its descriptor says, too) the archive is of no use.
    pub fn put(&mut self, blob: &Descriptor, stream: impl Read) -> io::Result<()> {
        if !self.written.insert(blob.digest) {
            return Ok(());
        }
        self.begin(&blob_name(&blob.digest), blob.size)?;
        let mut stream = Verified::new(stream, blob);
        let mut piece = vec![0; PIECE];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => self.tar.content(&piece[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the archive and gives back what it was written to.
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
        self.tar.entry(&Entry { path, kind, mtime: FIXED_MTIME, graft: Arc::clone(&self.graft) })
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
    fn what_is_written_is_read() {
        let (manifest, empty) = (&b"{}"[..], &b""[..]);
        let root = Descriptor::of(media_type::MANIFEST, manifest);
        let nothing = Descriptor::of("x", empty);
        let written = [(&nothing, empty), (&root, manifest), (&root, manifest)];
        let bytes = archive(&written, &root).unwrap();
        assert_eq!(bytes, archive(&written[..2], &root).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        let source = ArchiveSource::open(&path, None).unwrap();
        assert_eq!(source.root().unwrap(), (root, manifest.to_vec()));
        let mut read = Vec::new();
        source.blob(&nothing).unwrap().read_to_end(&mut read).unwrap();
        assert!(read.is_empty());
    }

    #[test]
    fn a_wrong_blob_is_no_end() {
        let root = Descriptor::of(media_type::MANIFEST, b"{}");
        for wrong in [&b"{]"[..], b"{", b"{}}"] {
            assert!(archive(&[(&root, wrong)], &root).is_err());
        }
    }
}
