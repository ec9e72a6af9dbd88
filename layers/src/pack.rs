//! One layer: from its entries to a blob in an OCI layout, in one pass.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use crate::digest::{DiffId, Hashing};
use crate::format::FormatVersion;
use crate::gzip::ParallelGzip;
use crate::layout::{BlobWriter, LayoutError, LayoutWriter};
use crate::oci::{Descriptor, media_type};
use crate::path::{printable, shown};
use crate::plan::{Group, LayerName};
use crate::read_ahead::{Content, STREAM_ABOVE, changed, open, read_ahead};
use crate::scan::Scanner;
use crate::tarball::TarWriter;
use crate::tree::{Entry, EntryKind};

/// How to pack. Only `format` decides bytes.
#[derive(Clone, Copy)]
pub struct PackOptions<'a> {
    /// The rules by which entries become bytes.
    pub format: FormatVersion,
    /// Threads that compress, at most [`crate::gzip::MAX_GZIP_THREADS`]; callers who pack several
    /// layers at once divide their cores among them. A layer takes 30 MiB and 3.2 MiB a thread.
    pub threads: NonZeroUsize,
    /// Told of bytes of content as they are packed: how many since the last call.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// What must not be in the layer: see [`Scanner`] for what is found.
    pub secrets: &'a [Vec<u8>],
}

/// A layer that lies whole in the layout.
#[derive(Clone, PartialEq, Debug)]
pub struct PackedLayer {
    /// The group's name.
    pub name: LayerName,
    /// The blob: compressed.
    pub descriptor: Descriptor,
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// Files, folders and links in it.
    pub entries: u64,
    /// The tar's length in bytes.
    pub uncompressed: u64,
}

/// Why a layer could not be packed. Nothing of it is visible in the layout then.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PackError {
    /// A file could not be read, or is not what it was when the tree was listed.
    #[error("failed to pack `{}`", shown(path))]
    #[diagnostic(help(
        "nothing may write to the tree while it is packed; see that no process of the build still runs"
    ))]
    Read {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A secret is in a name, a link or a file.
    #[error("failed to pack `{path}`: it holds a secret of this build")]
    #[diagnostic(help(
        "keep the secret out of the image: remove the file, or what writes it, from the build"
    ))]
    Secret {
        /// In the image; the secret is cut out.
        path: String,
    },
    /// The layer could not be written.
    #[error("failed to write layer `{layer}` into `{}`", layout.display())]
    #[diagnostic(help("check that the folder is yours, and that its disk has room"))]
    Write {
        /// Its name.
        layer: LayerName,
        /// The layout's folder.
        layout: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layout refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] LayoutError),
}

/// Writes a group as one layer into `layout`: tar, both digests, gzip and the search for secrets
/// in one pass over the files.
///
/// The blob has a temporary name until it is whole and synced; a crash leaves no more than that.
/// Memory is bounded whatever the group holds. Several groups can be packed at the same time.
pub fn pack(
    group: &Group,
    layout: &LayoutWriter,
    options: &PackOptions<'_>,
) -> Result<PackedLayer, PackError> {
    // The one format so far: a second one does not compile until it is told apart here.
    let FormatVersion::V1 = options.format;
    let write_error =
        |source| PackError::Write { layer: group.name.clone(), layout: layout.path().to_owned(), source };
    let blob = Hashing::new(layout.blob()?);
    let gzip = ParallelGzip::new(blob, options.threads).map_err(write_error)?;
    let mut layer = Layer::new(TarWriter::new(Hashing::new(gzip)), options);
    thread::scope(|scope| {
        for (entries, contents) in read_ahead(scope, &group.entries).map_err(write_error)? {
            for (entry, content) in entries.iter().zip(contents) {
                layer.entry(entry, content).map_err(|failure| failure.of(entry, write_error))?;
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

type Sink = Hashing<ParallelGzip<Hashing<BlobWriter>>>;

/// A layer being written.
struct Layer<'a, W> {
    tar: TarWriter<W>,
    scanner: Scanner<'a>,
    progress: &'a (dyn Fn(u64) + Sync),
    /// For files that are streamed.
    buffer: Vec<u8>,
}

/// What went wrong with one entry.
enum Failure {
    Read(io::Error),
    Write(io::Error),
    Secret,
    /// What is left of the path without the secret.
    SecretInPath(Vec<u8>),
}

impl<'a> Layer<'a, Sink> {
    fn new(tar: TarWriter<Sink>, options: &PackOptions<'a>) -> Self {
        let scanner = Scanner::new(options.secrets);
        Self { tar, scanner, progress: options.progress, buffer: Vec::new() }
    }
}

impl<W: Write> Layer<'_, W> {
    fn entry(&mut self, entry: &Entry, content: io::Result<Content>) -> Result<(), Failure> {
        self.check_names(entry)?;
        let content = content.map_err(Failure::Read)?;
        self.tar.entry(entry).map_err(Failure::Write)?;
        self.scanner.restart();
        match content {
            Content::Nothing => Ok(()),
            Content::Whole(bytes) => self.content(&bytes),
            Content::Stream => self.stream(entry),
        }
    }

    fn check_names(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.scanner.restart();
        if self.scanner.finds(entry.path.as_bytes()) {
            return Err(Failure::SecretInPath(self.scanner.without_secrets(entry.path.as_bytes())));
        }
        self.scanner.restart();
        match &entry.kind {
            EntryKind::Symlink { target } if self.scanner.finds(target) => Err(Failure::Secret),
            _ => Ok(()),
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.scanner.finds(bytes) {
            return Err(Failure::Secret);
        }
        self.tar.content(bytes).map_err(Failure::Write)?;
        (self.progress)(bytes.len() as u64);
        Ok(())
    }

    fn stream(&mut self, entry: &Entry) -> Result<(), Failure> {
        let mut file = open(entry).map_err(Failure::Read)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(STREAM_ABOVE as usize, 0);
        let mut remaining = entry.size();
        loop {
            let read = file.read(&mut buffer).map_err(Failure::Read)?;
            if read as u64 > remaining || (read == 0 && remaining > 0) {
                return Err(Failure::Read(changed()));
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

impl Failure {
    fn of(self, entry: &Entry, write_error: impl Fn(io::Error) -> PackError) -> PackError {
        match self {
            Self::Read(source) => PackError::Read { path: entry.host(), source },
            Self::Write(source) => write_error(source),
            Self::Secret => PackError::Secret { path: entry.path.to_string() },
            Self::SecretInPath(rest) => PackError::Secret { path: printable(&rest) },
        }
    }
}
