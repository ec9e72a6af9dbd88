//! Writes the entries of one layer as a blob of an OCI layout, in one pass.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use crate::digest::{DiffId, Hashing};
use crate::format::FormatVersion;
use crate::gzip::ParallelGzip;
use crate::layout::{BlobWriter, LayoutError, LayoutWriter};
use crate::oci::{Descriptor, media_type};
use crate::plan::{Group, LayerName};
use crate::read_ahead::{Content, MAX_READ_AHEAD_BYTES, open, read_ahead, size_changed};
use crate::scan::SecretScanner;
use crate::tar_writer::TarWriter;
use crate::text::{escape_bytes, escape_path};
use crate::tree::{Entry, EntryKind};

/// How to pack. Only `format` affects the bytes of the layer.
#[derive(Clone, Copy)]
pub struct PackOptions<'a> {
    /// The rules by which entries become bytes.
    pub format: FormatVersion,
    /// Threads that compress, at most [`crate::gzip::MAX_GZIP_THREADS`]; callers that pack several
    /// layers at once divide their cores among them. A layer needs 30 MiB, and 3.2 MiB per thread.
    pub threads: NonZeroUsize,
    /// Called with the number of bytes of content that were packed since the last call.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Secrets that must not be in the layer; [`SecretScanner`] documents which forms it finds.
    pub secrets: &'a [Vec<u8>],
}

/// A layer that is completely stored in the layout.
#[derive(Clone, PartialEq, Debug)]
pub struct PackedLayer {
    /// The group's name.
    pub name: LayerName,
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The number of its files, directories and links.
    pub entries: u64,
    /// The tar's length in bytes.
    pub uncompressed: u64,
}

/// Why a layer could not be packed. The layout does not contain it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PackError {
    /// A file could not be read, or has changed since the tree was listed.
    #[error("failed to pack `{}`", escape_path(path))]
    #[diagnostic(help(
        "the tree must not change while it is packed; check that no process of the build is still running"
    ))]
    Read {
        /// On this machine.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A name, a link target or a file contains a secret.
    #[error("failed to pack `{path}`: it contains a secret of this build")]
    #[diagnostic(help("remove the file, or the step that writes it, from the build"))]
    Secret {
        /// In the image; a secret in it is replaced by `***`.
        path: String,
    },
    /// The layer could not be written.
    #[error("failed to write layer `{layer}` into `{}`", escape_path(layout))]
    #[diagnostic(help("check the permissions of the directory and the free space of its disk"))]
    Write {
        /// Its name.
        layer: LayerName,
        /// The layout's directory.
        layout: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The layout could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
}

/// Writes a group as one layer into `layout`: tar, both digests, gzip and the search for secrets
/// in one pass over the files.
///
/// The blob has a temporary name until it is complete and synced; a crash leaves at most this file.
/// Memory is bounded for groups of any size. Several groups can be packed at the same time.
pub fn pack(
    group: &Group,
    layout: &LayoutWriter,
    options: &PackOptions<'_>,
) -> Result<PackedLayer, PackError> {
    // The only format so far. This does not compile with a second one until it is handled here.
    let FormatVersion::V1 = options.format;
    let write_error =
        |source| PackError::Write { layer: group.name.clone(), layout: layout.path().to_owned(), source };
    let blob = Hashing::new(layout.blob()?);
    let gzip = ParallelGzip::new(blob, options.threads).map_err(write_error)?;
    let mut layer = Layer::new(TarWriter::new(Hashing::new(gzip)), options);
    thread::scope(|scope| {
        for (entries, contents) in read_ahead(scope, &group.entries).map_err(write_error)? {
            for (entry, content) in entries.iter().zip(contents) {
                layer.entry(entry, content).map_err(|error| error.of(entry, write_error))?;
            }
        }
        Ok::<(), PackError>(())
    })?;
    let (gzip, diff_id, uncompressed) = layer.tar.finish().map_err(write_error)?.finish();
    let (blob, digest, size) = gzip.finish().map_err(write_error)?.finish();
    blob.commit(digest)?;
    Ok(PackedLayer {
        name: group.name.clone(),
        descriptor: Descriptor::new(media_type::LAYER_GZIP, digest, size),
        diff_id: DiffId(diff_id),
        entries: group.entries.len() as u64,
        uncompressed,
    })
}

type LayerWriter = Hashing<ParallelGzip<Hashing<BlobWriter>>>;

/// A layer that is being written.
struct Layer<'a, W> {
    tar: TarWriter<W>,
    scanner: SecretScanner<'a>,
    progress: &'a (dyn Fn(u64) + Sync),
    /// For files that are streamed.
    buffer: Vec<u8>,
}

/// Why an entry could not be packed.
enum EntryError {
    Read(io::Error),
    Write(io::Error),
    Secret,
    /// With the redacted path.
    SecretInPath(Vec<u8>),
}

impl<'a> Layer<'a, LayerWriter> {
    fn new(tar: TarWriter<LayerWriter>, options: &PackOptions<'a>) -> Self {
        let scanner = SecretScanner::new(options.secrets);
        Self { tar, scanner, progress: options.progress, buffer: Vec::new() }
    }
}

impl<W: Write> Layer<'_, W> {
    fn entry(&mut self, entry: &Entry, content: io::Result<Content>) -> Result<(), EntryError> {
        self.check_names(entry)?;
        let content = content.map_err(EntryError::Read)?;
        self.tar.entry(entry).map_err(EntryError::Write)?;
        self.scanner.restart();
        match content {
            Content::Empty => Ok(()),
            Content::Bytes(bytes) => self.content(&bytes),
            Content::Stream => self.stream(entry),
        }
    }

    fn check_names(&mut self, entry: &Entry) -> Result<(), EntryError> {
        self.scanner.restart();
        if self.scanner.finds(entry.path.as_bytes()) {
            return Err(EntryError::SecretInPath(self.scanner.redact(entry.path.as_bytes())));
        }
        self.scanner.restart();
        match &entry.kind {
            EntryKind::Symlink { target } if self.scanner.finds(target) => Err(EntryError::Secret),
            _ => Ok(()),
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), EntryError> {
        if self.scanner.finds(bytes) {
            return Err(EntryError::Secret);
        }
        self.tar.content(bytes).map_err(EntryError::Write)?;
        (self.progress)(bytes.len() as u64);
        Ok(())
    }

    fn stream(&mut self, entry: &Entry) -> Result<(), EntryError> {
        let mut file = open(entry).map_err(EntryError::Read)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(MAX_READ_AHEAD_BYTES as usize, 0);
        let mut remaining = entry.size();
        loop {
            let read = file.read(&mut buffer).map_err(EntryError::Read)?;
            if read as u64 > remaining || (read == 0 && remaining > 0) {
                return Err(EntryError::Read(size_changed()));
            }
            if read == 0 {
                break;
            }
            self.content(&buffer[..read])?;
            remaining -= read as u64;
        }
        self.buffer = buffer;
        Ok(())
    }
}

impl EntryError {
    fn of(self, entry: &Entry, write_error: impl Fn(io::Error) -> PackError) -> PackError {
        match self {
            Self::Read(source) => PackError::Read { path: entry.host(), source },
            Self::Write(source) => write_error(source),
            Self::Secret => PackError::Secret { path: entry.path.to_string() },
            Self::SecretInPath(rest) => PackError::Secret { path: escape_bytes(&rest) },
        }
    }
}
