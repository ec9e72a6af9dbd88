//! An archive as a file: whole under its name, or not there.

use std::fs::Permissions;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::{ArchiveWriter, CONTAINERD_NAME};
use crate::layout::{ImageSink, LayoutError, REF_NAME};
use crate::oci::{Descriptor, Manifest};
use crate::verified::Unverified;

/// What is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A name that Docker gives to an image: all of it, with host and tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DockerName {
    /// As containerd has it: `docker.io/library/erp:15`.
    pub full: String,
    /// As Docker shows it: `erp:15`.
    pub familiar: String,
    /// `15`.
    pub tag: String,
}

/// An archive that is being written. Nothing has its name before [`Self::close`].
///
/// An OCI archive is an OCI layout in a tar. A docker archive is the same with a `manifest.json`
/// that names the same files, as `docker save` writes it since version 25: `docker load` of any
/// version takes it, and the image's manifest is kept, and with it its digest.
pub struct ArchiveFile {
    path: PathBuf,
    archive: Mutex<ArchiveWriter<BufWriter<NamedTempFile>>>,
}

impl ArchiveFile {
    /// Begins an OCI archive that will be at `path`, whose folder must be there. Its index has
    /// these entries.
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
            archive.saved(manifest, &familiar)?;
            Ok(archive)
        })
    }

    fn create(
        path: PathBuf,
        begin: impl FnOnce(BufWriter<NamedTempFile>) -> io::Result<ArchiveWriter<BufWriter<NamedTempFile>>>,
    ) -> Result<Self, LayoutError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Readable by all, less the umask, as any other file; tempfile's own choice is private.
        let file = tempfile::Builder::new()
            .prefix(".carafe-unfinished-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        let begun = file.and_then(|file| begin(BufWriter::with_capacity(BUFFER_BYTES, file)));
        match begun {
            Ok(archive) => Ok(Self { path, archive: Mutex::new(archive) }),
            Err(source) => Err(LayoutError::Write { path, source }),
        }
    }

    /// Ends the archive and gives it its name, in the place of what had it.
    pub fn close(self) -> Result<(), LayoutError> {
        let Self { path, archive } = self;
        let archive = archive.into_inner().unwrap_or_else(PoisonError::into_inner);
        let end = || {
            let file = archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map(drop).map_err(|failure| failure.error)
        };
        end().map_err(|source| LayoutError::Write { path: path.clone(), source })
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
        let mut stream = Noting { stream, has_failed: false };
        self.lock().put(blob, &mut stream).map_err(|source| {
            match stream.has_failed || source.get_ref().is_some_and(|error| error.is::<Unverified>()) {
                true => LayoutError::Read { path: origin.to_owned(), source },
                false => LayoutError::Write { path: self.path.clone(), source },
            }
        })
    }
}

/// Tells a reader's errors from a writer's.
struct Noting<'a> {
    stream: &'a mut dyn Read,
    has_failed: bool,
}

impl Read for Noting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        self.has_failed = read.is_err();
        read
    }
}

/// An image in the index under each of `names`, as Docker's own archives have it.
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
