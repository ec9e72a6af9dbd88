//! Writing an archive as a file: complete under its name, or absent.

use std::fs::Permissions;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::names::CONTAINERD_NAME;
use super::writer::ArchiveWriter;
use crate::layout::{ImageSink, LayoutError};
use crate::oci::{Descriptor, Manifest, REF_NAME};
use crate::verified::VerifyError;

const BUFFER_BYTES: usize = 256 << 10;

/// An image's name in the forms that Docker uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DockerName {
    /// The full name, as containerd stores it: `docker.io/library/erp:15`.
    pub full: String,
    /// The short name, as Docker shows it: `erp:15`.
    pub familiar: String,
    /// The tag: `15`.
    pub tag: String,
}

/// An archive that is being written. The file has its name after [`Self::close`].
///
/// An OCI archive is an OCI layout in a tar. A docker archive is the same with a `manifest.json`
/// that names the same files, like the output of `docker save` since version 25: every version of
/// `docker load` accepts it, and it preserves the image's manifest and digest.
pub struct ArchiveFile {
    path: PathBuf,
    archive: Mutex<ArchiveWriter<BufWriter<NamedTempFile>>>,
}

impl ArchiveFile {
    /// Begins an OCI archive at `path`, whose directory must exist. `entries` are the entries of its
    /// index.
    pub fn oci(path: impl Into<PathBuf>, entries: Vec<Descriptor>) -> Result<Self, LayoutError> {
        Self::create(path.into(), |out| ArchiveWriter::with_entries(out, entries))
    }

    /// Begins a docker archive of the image with this descriptor and manifest, under `names`.
    pub fn docker(
        path: impl Into<PathBuf>,
        image: &Descriptor,
        manifest: &Manifest,
        names: &[DockerName],
    ) -> Result<Self, LayoutError> {
        let familiar: Vec<&str> = names.iter().map(|name| name.familiar.as_str()).collect();
        Self::create(path.into(), |out| {
            let mut archive = ArchiveWriter::with_entries(out, named(image, names))?;
            archive.docker_manifest(manifest, &familiar)?;
            Ok(archive)
        })
    }

    fn create(
        path: PathBuf,
        begin: impl FnOnce(BufWriter<NamedTempFile>) -> io::Result<ArchiveWriter<BufWriter<NamedTempFile>>>,
    ) -> Result<Self, LayoutError> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        // The umask decides the mode, as for any other file; the default of tempfile is 0600.
        let file = tempfile::Builder::new()
            .prefix(".carafe-unfinished-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")));
        let begun = file.and_then(|file| begin(BufWriter::with_capacity(BUFFER_BYTES, file)));
        match begun {
            Ok(archive) => Ok(Self { path, archive: Mutex::new(archive) }),
            Err(source) => Err(LayoutError::Write { path, source }),
        }
    }

    /// Ends the archive and gives it its name. Replaces an existing file.
    pub fn close(self) -> Result<(), LayoutError> {
        let Self { path, archive } = self;
        let archive = archive.into_inner().unwrap_or_else(PoisonError::into_inner);
        let end = || {
            let file = archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map(drop).map_err(|failure| failure.error)
        };
        end().map_err(LayoutError::write(&path))
    }

    fn lock(&self) -> MutexGuard<'_, ArchiveWriter<BufWriter<NamedTempFile>>> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageSink for ArchiveFile {
    fn contains(&self, blob: &Descriptor) -> bool {
        self.lock().contains(&blob.digest)
    }

    fn put(&self, blob: &Descriptor, stream: &mut dyn Read, origin: &Path) -> Result<(), LayoutError> {
        let mut stream = Observed { stream, has_failed: false };
        self.lock().put(blob, &mut stream).map_err(|source| match VerifyError::of(&source) {
            Some(mismatch) => LayoutError::Mismatch(*mismatch),
            None if stream.has_failed => LayoutError::Read { path: origin.to_owned(), source },
            None => LayoutError::Write { path: self.path.clone(), source },
        })
    }
}

/// Records whether the reader failed, to distinguish its errors from those of the writer.
struct Observed<'a> {
    stream: &'a mut dyn Read,
    has_failed: bool,
}

impl Read for Observed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        self.has_failed = read.is_err();
        read
    }
}

/// The index entries of an image with `names`, with the annotations that Docker writes.
fn named(image: &Descriptor, names: &[DockerName]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![image.clone()];
    }
    let entry = |name: &DockerName| {
        let mut entry = image.clone();
        entry.annotations.insert(REF_NAME.to_owned(), name.tag.clone());
        entry.annotations.insert(CONTAINERD_NAME.to_owned(), name.full.clone());
        entry
    };
    names.iter().map(entry).collect()
}
