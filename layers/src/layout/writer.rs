//! Writing an OCI layout: every file is complete before it has its name.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::LayoutError;
use super::files::{BLOBS, INDEX, MARKER, MARKER_CONTENT, open_below, read_document};
use super::sink::ImageSink;
use crate::digest::Digest;
use crate::json::canonical_json;
use crate::oci::{Descriptor, Index, REF_NAME};
use crate::verified::{VerifiedReader, VerifyError};

/// The prefix of unfinished files; those of a crash can be removed while no writer is running.
const TEMPORARY_PREFIX: &str = ".carafe-unfinished-";

const BUFFER_BYTES: usize = 256 << 10;

/// An OCI layout that is being written. Can be shared between threads. Existing content of the layout
/// stays.
#[derive(Debug)]
pub struct LayoutWriter {
    root: PathBuf,
}

impl LayoutWriter {
    /// Opens the layout at `root`, or creates an empty one if there is nothing yet. Idempotent.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, LayoutError> {
        let layout = Self { root: root.into() };
        let blobs = layout.blobs();
        match read_document(&layout.root, &[MARKER]) {
            Ok(marker) => return layout.check_marker(&marker).map(|()| layout),
            Err(_) => layout.check_empty()?,
        }
        fs::create_dir_all(&blobs).map_err(LayoutError::write(&blobs))?;
        if open_below(&layout.root, &[INDEX]).is_err() {
            layout.write_index(Vec::new())?;
        }
        // Last, because a directory with this file is a layout.
        publish(layout.temporary_with(MARKER_CONTENT.as_bytes())?, &layout.root.join(MARKER))?;
        Ok(layout)
    }

    fn check_marker(&self, marker: &[u8]) -> Result<(), LayoutError> {
        let marker: Option<serde_json::Value> = serde_json::from_slice(marker).ok();
        match marker.as_ref().and_then(|marker| marker.get("imageLayoutVersion")?.as_str()) {
            Some("1.0.0") => Ok(()),
            _ => Err(LayoutError::NotALayout { path: self.root.clone() }),
        }
    }

    /// Accepts what a crash of [`Self::create`] leaves: blobs, the index and unfinished files.
    fn check_empty(&self) -> Result<(), LayoutError> {
        let Ok(mut names) = fs::read_dir(&self.root) else { return Ok(()) };
        let has_others = names.any(|item| {
            item.is_ok_and(|item| {
                let name = item.file_name();
                name != BLOBS[0] && name != INDEX && !name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
            })
        });
        if has_others {
            return Err(LayoutError::NotALayout { path: self.root.clone() });
        }
        Ok(())
    }

    /// The layout's directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn blobs(&self) -> PathBuf {
        self.root.join(BLOBS[0]).join(BLOBS[1])
    }

    /// The path of a blob, whether it exists or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Whether the layout has a blob of this digest and size. Does not read the blob's bytes.
    pub fn contains(&self, blob: &Descriptor) -> bool {
        let file = open_below(&self.root, &[BLOBS[0], BLOBS[1], &blob.digest.hex()]);
        file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.len() == blob.size)
    }

    /// Begins a blob whose digest is not known yet.
    pub fn blob(&self) -> Result<BlobWriter, LayoutError> {
        Ok(BlobWriter { file: self.temporary()?, directory: self.blobs() })
    }

    /// Stores `bytes` and returns their descriptor.
    pub fn put_bytes(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, LayoutError> {
        let descriptor = Descriptor::of(media_type, bytes);
        publish(self.temporary_with(bytes)?, &self.blob_path(&descriptor.digest))?;
        Ok(descriptor)
    }

    /// Stores a stream that must have the digest and size of `blob`. A wrong stream is not stored.
    /// `origin` names the stream in messages.
    pub fn put_stream(&self, blob: &Descriptor, stream: impl Read, origin: &Path) -> Result<(), LayoutError> {
        let mut writer = self.blob()?;
        copy(&mut VerifiedReader::new(stream, blob), &mut writer, origin)?;
        writer.commit(blob.digest)
    }

    /// Stores a copy of the file at `path`, verified like [`Self::put_stream`].
    pub fn put_file(&self, blob: &Descriptor, path: &Path) -> Result<(), LayoutError> {
        let file = File::open(path).map_err(|source| LayoutError::Read { path: path.to_owned(), source })?;
        self.put_stream(blob, file, path)
    }

    /// Adds `image` to `index.json`: once for each of `ref_names` (such as tags), or once without a
    /// name. Removes entries that have one of these names, or none, from the index; their blobs
    /// stay. Readers see either the old index or the new one. Of two concurrent writers, the later one
    /// overwrites the index of the other.
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
        sync_directory(&self.blobs())?;
        self.write_index(manifests)
    }

    fn read_index(&self) -> Result<Index, LayoutError> {
        let path = self.root.join(INDEX);
        let bytes = read_document(&self.root, &[INDEX])
            .map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| LayoutError::Parse { path, source })
    }

    fn write_index(&self, manifests: Vec<Descriptor>) -> Result<(), LayoutError> {
        publish(self.temporary_with(&canonical_json(&Index::of(manifests)))?, &self.root.join(INDEX))?;
        sync_directory(&self.root)
    }

    fn temporary(&self) -> Result<NamedTempFile, LayoutError> {
        // The umask decides the mode, as for any other file; the default of tempfile is 0600.
        tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(&self.root)
            .map_err(LayoutError::write(&self.root))
    }

    fn temporary_with(&self, bytes: &[u8]) -> Result<NamedTempFile, LayoutError> {
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(LayoutError::write(file.path()))?;
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

/// A blob that is being written into a layout. Dropped without [`Self::commit`], it is removed.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    directory: PathBuf,
}

impl BlobWriter {
    /// Syncs the blob and gives it its name. `digest` must be that of all bytes written. Atomic;
    /// replaces an existing blob of that digest.
    pub fn commit(self, digest: Digest) -> Result<(), LayoutError> {
        publish(self.file, &self.directory.join(digest.hex()))
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

/// Syncs a file, then renames it, so that the name never refers to an incomplete file, even after a
/// power failure.
fn publish(file: NamedTempFile, path: &Path) -> Result<(), LayoutError> {
    let error = LayoutError::write(path);
    file.as_file().sync_all().map_err(&error)?;
    file.persist(path).map_err(|failure| error(failure.error))?;
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), LayoutError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(LayoutError::write(path))
}

/// [`io::copy`] that distinguishes a wrong stream, a reader's error and a writer's error.
fn copy(reader: &mut impl Read, writer: &mut BlobWriter, origin: &Path) -> Result<(), LayoutError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                writer.write_all(&buffer[..read]).map_err(LayoutError::write(&writer.directory))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(match VerifyError::of(&error) {
                    Some(mismatch) => LayoutError::Mismatch(*mismatch),
                    None => LayoutError::Read { path: origin.to_owned(), source: error },
                });
            }
        }
    }
}
