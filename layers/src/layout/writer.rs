//! Writing an OCI layout: nothing has its name before it is whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{BLOBS, INDEX, ImageSink, MARKER, MARKER_TEXT, REF_NAME, index_of, open_below, read_document};
use crate::digest::{Digest, Hashing};
use crate::json::canonical_json;
use crate::oci::{Descriptor, Index};

/// Unfinished blobs are called so; one that a crash left can be removed when nothing is running.
const TEMPORARY: &str = ".carafe-unfinished-";

/// Why a layout could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LayoutError {
    /// The file system said no.
    #[error("failed to write `{}`", path.display())]
    #[diagnostic(help("check that the folder is yours, and that its disk has room"))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What should go in, or is already there, could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file or stream.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("failed to write an OCI layout into `{}`: the folder is not empty, and no OCI layout of version 1.0.0", path.display())]
    #[diagnostic(help("name a folder that does not exist yet, or an OCI layout"))]
    NotALayout {
        /// The folder.
        path: PathBuf,
    },
    /// The layout's index cannot be added to.
    #[error("failed to parse `{}`", path.display())]
    #[diagnostic(help("the layout is damaged; remove the folder and write it again"))]
    Parse {
        /// `index.json`.
        path: PathBuf,
        /// The parser's word.
        #[source]
        source: serde_json::Error,
    },
    /// A blob is not what its descriptor says.
    #[error("failed to verify blob {wanted}: wanted {wanted_size} bytes, got {got_size} with {got}")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    Mismatch {
        /// In the descriptor.
        wanted: Digest,
        /// In the descriptor.
        wanted_size: u64,
        /// Of what came (no more than one byte over the size is read).
        got: Digest,
        /// Of what came.
        got_size: u64,
    },
}

/// An OCI layout that is being written. Can be shared between threads. What is in the layout
/// already stays.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
}

impl LayoutWriter {
    /// Opens the layout at `root`, or makes an empty one where there is nothing yet. Idempotent.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into() };
        let blobs = layout.blobs();
        match read_document(&layout.root, &[MARKER]) {
            Ok(marker) => return layout.check_marker(&marker).map(|()| layout),
            Err(_) => layout.check_empty()?,
        }
        fs::create_dir_all(&blobs).map_err(|source| LayoutError::Write { path: blobs, source })?;
        if open_below(&layout.root, &[INDEX]).is_err() {
            layout.write_index(Vec::new())?;
        }
        // Last: what has a marker is a layout.
        publish(layout.filled(MARKER_TEXT.as_bytes())?, &layout.root.join(MARKER))?;
        Ok(layout)
    }

    fn check_marker(&self, marker: &[u8]) -> Result<(), LayoutError> {
        let marker: Option<serde_json::Value> = serde_json::from_slice(marker).ok();
        match marker.as_ref().and_then(|marker| marker.get("imageLayoutVersion")?.as_str()) {
            Some("1.0.0") => Ok(()),
            _ => Err(LayoutError::NotALayout { path: self.root.clone() }),
        }
    }

    /// A crash right after the start leaves these two and unfinished files, which are no obstacle.
    fn check_empty(&self) -> Result<(), LayoutError> {
        let Ok(mut names) = fs::read_dir(&self.root) else { return Ok(()) };
        let foreign = names.any(|item| {
            item.is_ok_and(|item| {
                let name = item.file_name();
                name != BLOBS[0] && name != INDEX && !name.to_string_lossy().starts_with(TEMPORARY)
            })
        });
        if foreign {
            return Err(LayoutError::NotALayout { path: self.root.clone() });
        }
        Ok(())
    }

    /// The layout's folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS[0]).join(BLOBS[1])
    }

    /// Where the blob lies or would lie.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether a blob of this digest and size is there. Its bytes are not read.
    pub fn contains(&self, blob: &Descriptor) -> bool {
        let file = open_below(&self.root, &[BLOBS[0], BLOBS[1], &blob.digest.hex()]);
        file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.len() == blob.size)
    }

    /// A new blob, whose digest is not known yet.
    pub fn blob(&self) -> Result<BlobWriter, LayoutError> {
        Ok(BlobWriter { file: self.temporary()?, folder: self.blobs() })
    }

    /// Stores `bytes` and describes them.
    pub fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, LayoutError> {
        let descriptor = Descriptor::of(media_type, bytes);
        publish(self.filled(bytes)?, &self.blob_path(&descriptor.digest))?;
        Ok(descriptor)
    }

    /// Stores a stream that must have `blob`'s digest and size. Nothing is stored otherwise.
    /// `origin` is for messages.
    pub fn put_stream(&self, blob: &Descriptor, stream: impl Read, origin: &Path) -> Result<(), LayoutError> {
        let mut writer = self.blob()?;
        let mut reader = Hashing::new(stream.take(blob.size.saturating_add(1)));
        copy(&mut reader, &mut writer, origin)?;
        let (_, got, got_size) = reader.finish();
        if (got, got_size) != (blob.digest, blob.size) {
            return Err(LayoutError::Mismatch { wanted: blob.digest, wanted_size: blob.size, got, got_size });
        }
        writer.commit(got)
    }

    /// Stores a copy of the file at `path`, verified like [`Self::put_stream`]; the file stays.
    pub fn adopt_file(&self, blob: &Descriptor, path: &Path) -> Result<(), LayoutError> {
        let file = File::open(path).map_err(|source| LayoutError::Read { path: path.to_owned(), source })?;
        self.put_stream(blob, file, path)
    }

    /// Makes `image` visible: in `index.json` once for each of `ref_names` (such as tags), or
    /// once without a name. What had one of these names, or none, leaves the index; its blobs
    /// stay. Readers see the old index or the new one. Of two writers at once the later wins.
    pub fn finish(&self, image: &Descriptor, ref_names: &[&str]) -> Result<(), LayoutError> {
        let mut manifests = self.read_index()?.manifests;
        manifests.retain(|entry| {
            let name = entry.annotations.get(REF_NAME);
            name.is_some_and(|name| !ref_names.contains(&name.as_str()))
        });
        let named = ref_names.iter().map(|name| {
            let mut entry = image.clone();
            entry.annotations.insert(REF_NAME.to_owned(), (*name).to_owned());
            entry
        });
        manifests.extend(named);
        if ref_names.is_empty() {
            manifests.push(image.clone());
        }
        manifests.sort_by_cached_key(|entry| (entry.annotations.get(REF_NAME).cloned(), entry.digest));
        manifests.dedup();
        sync_folder(&self.blobs())?;
        self.write_index(manifests)
    }

    fn read_index(&self) -> Result<Index, LayoutError> {
        let path = self.root.join(INDEX);
        let bytes = read_document(&self.root, &[INDEX])
            .map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| LayoutError::Parse { path, source })
    }

    fn write_index(&self, manifests: Vec<Descriptor>) -> Result<(), LayoutError> {
        publish(self.filled(&canonical_json(&index_of(manifests)))?, &self.root.join(INDEX))?;
        sync_folder(&self.root)
    }

    fn temporary(&self) -> Result<NamedTempFile, LayoutError> {
        // Readable by all, less the umask, as any other file; tempfile's own choice is private.
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.root)
            .map_err(|source| LayoutError::Write { path: self.root.clone(), source })
    }

    fn filled(&self, bytes: &[u8]) -> Result<NamedTempFile, LayoutError> {
        let mut file = self.temporary()?;
        file.write_all(bytes)
            .map_err(|source| LayoutError::Write { path: file.path().to_owned(), source })?;
        Ok(file)
    }
}

impl ImageSink for LayoutWriter {
    fn contains(&self, blob: &Descriptor) -> bool {
        self.contains(blob)
    }

    fn put(&self, blob: &Descriptor, stream: &mut dyn Read, origin: &Path) -> Result<(), LayoutError> {
        self.put_stream(blob, stream, origin)
    }
}

/// A blob on its way into a layout. Dropped without [`Self::commit`], it is removed.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    folder: PathBuf,
}

impl BlobWriter {
    /// Gives the blob its name, once its bytes are on the disk. `digest` must be that of all
    /// bytes written. Atomic; a blob of that name is replaced by its like.
    pub fn commit(self, digest: Digest) -> Result<(), LayoutError> {
        publish(self.file, &self.folder.join(digest.hex()))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Syncs a file, then renames it: after a power cut the name never stands for half a file.
fn publish(file: NamedTempFile, path: &Path) -> Result<(), LayoutError> {
    let error = |source| LayoutError::Write { path: path.to_owned(), source };
    file.as_file().sync_all().map_err(error)?;
    file.persist(path).map_err(|failure| error(failure.error))?;
    Ok(())
}

fn sync_folder(path: &Path) -> Result<(), LayoutError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|source| LayoutError::Write { path: path.to_owned(), source })
}

/// [`io::copy`] that tells a reader's error from a writer's.
fn copy(reader: &mut impl Read, writer: &mut BlobWriter, origin: &Path) -> Result<(), LayoutError> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => writer
                .write_all(&buffer[..read])
                .map_err(|source| LayoutError::Write { path: writer.folder.clone(), source })?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(LayoutError::Read { path: origin.to_owned(), source }),
        }
    }
}
