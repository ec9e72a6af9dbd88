//! A layer's blob as a verified stream of tar bytes, decompressed on a thread of its own so that
//! inflating and hashing do not wait for the file system.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender};

use super::UnpackLimits;
use super::decompress::Compression;
use super::error::{Exceeded, UnpackError};
use crate::digest::{DiffId, Digest, Hashing};
use crate::oci::Descriptor;
use crate::source::SourceError;

/// Tar bytes handed over at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks decompressed ahead of the file system: 2 MiB with [`CHUNK_BYTES`].
pub(super) const CHUNKS_AHEAD: usize = 8;

/// Some tar bytes, and how many compressed ones were read up to them.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    compressed: u64,
}

/// A layer: how it is stored, and what its tar must be.
pub(crate) struct Layer<'a> {
    pub image: &'a str,
    pub descriptor: &'a Descriptor,
    pub diff_id: DiffId,
}

impl Layer<'_> {
    /// The compression that the media type names.
    pub(crate) fn compression(&self) -> Result<Compression, UnpackError> {
        Compression::of(&self.descriptor.media_type).ok_or_else(|| UnpackError::MediaType {
            layer: self.descriptor.digest,
            media_type: self.descriptor.media_type.chars().take(100).collect(),
        })
    }

    /// Sends the blob's tar chunk by chunk, and verifies at the end: the blob's length and
    /// digest first, since a damaged copy explains everything else, then what the decoder said,
    /// then the diff id.
    pub(super) fn send(&self, blob: impl Read, chunks: &SyncSender<Chunk>) -> Result<(), UnpackError> {
        let compression = self.compression()?;
        let meter = Meter::default();
        // One byte more than there should be is enough to tell that there is more.
        let metered = Metered { inner: blob, meter: &meter }.take(self.descriptor.size + 1);
        let mut blob = Hashing::new(metered);
        let mut tar = Hashing::new(compression.reader(&mut blob));
        let sent = pump(&mut tar, &meter, chunks);
        let (_, diff_id, _) = tar.finish();
        let sent = match sent {
            Ok(Pumped::HungUp) => return Err(self.decompress_error(io::ErrorKind::BrokenPipe.into())),
            Err(error) if meter.failed.get() => return Err(self.read_error(error).into()),
            sent => sent,
        };
        io::copy(&mut blob, &mut io::sink()).map_err(|error| self.read_error(error))?;
        let (_, digest, size) = blob.finish();
        self.check_blob(digest, size)?;
        sent.map_err(|error| self.decompress_error(error))?;
        self.check_diff_id(DiffId(diff_id))
    }

    /// Reads the blob and verifies its length and digest, and nothing of what is in it.
    pub(crate) fn check(&self, blob: impl Read) -> Result<(), UnpackError> {
        let mut blob = Hashing::new(blob.take(self.descriptor.size + 1));
        io::copy(&mut blob, &mut io::sink()).map_err(|error| self.read_error(error))?;
        let (_, digest, size) = blob.finish();
        Ok(self.check_blob(digest, size)?)
    }

    fn check_blob(&self, got: Digest, size: u64) -> Result<(), SourceError> {
        let (what, image, wanted) = ("layer", self.image.to_owned(), self.descriptor.digest);
        if size != self.descriptor.size {
            let (digest, wanted) = (wanted, self.descriptor.size);
            return Err(SourceError::SizeMismatch { what, image, digest, wanted, got: size });
        }
        if got != wanted {
            return Err(SourceError::DigestMismatch { what, image, wanted, got });
        }
        Ok(())
    }

    fn check_diff_id(&self, got: DiffId) -> Result<(), UnpackError> {
        if got == self.diff_id {
            return Ok(());
        }
        Err(UnpackError::DiffId { layer: self.descriptor.digest, wanted: self.diff_id, got })
    }

    fn decompress_error(&self, source: io::Error) -> UnpackError {
        UnpackError::Decompress { layer: self.descriptor.digest, source }
    }

    fn read_error(&self, source: io::Error) -> SourceError {
        SourceError::Io { path: format!("{} layer {}", self.image, self.descriptor.digest), source }
    }
}

enum Pumped {
    All,
    HungUp,
}

fn pump(tar: &mut impl Read, meter: &Meter, chunks: &SyncSender<Chunk>) -> io::Result<Pumped> {
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let read = tar.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes)?;
        if read == 0 {
            return Ok(Pumped::All);
        }
        if chunks.send(Chunk { bytes, compressed: meter.read.get() }).is_err() {
            return Ok(Pumped::HungUp);
        }
    }
}

/// What became of a reader that a decoder has taken.
#[derive(Default)]
struct Meter {
    /// Bytes read.
    read: Cell<u64>,
    /// Whether the reader itself failed, so that its error explains the decoder's.
    failed: Cell<bool>,
}

struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(bytes) => self.meter.read.set(self.meter.read.get() + *bytes as u64),
            Err(error) => self.meter.failed.set(error.kind() != io::ErrorKind::Interrupted),
        }
        read
    }
}

/// The other end: a layer's tar, within the limits on bytes and on how much it was compressed.
pub(crate) struct TarStream<'a> {
    chunks: Receiver<Chunk>,
    chunk: Vec<u8>,
    at: usize,
    limits: &'a UnpackLimits,
    /// Tar bytes of the layers before this one.
    before: u64,
    /// Tar bytes of this layer so far.
    bytes: u64,
    progress: &'a dyn Fn(u64),
}

impl<'a> TarStream<'a> {
    /// `progress` hears how many of the layer's compressed bytes are done.
    pub(super) fn new(
        chunks: Receiver<Chunk>,
        limits: &'a UnpackLimits,
        before: u64,
        progress: &'a dyn Fn(u64),
    ) -> Self {
        Self { chunks, chunk: Vec::new(), at: 0, limits, before, bytes: 0, progress }
    }

    /// Tar bytes of this layer so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads and drops the rest, within the limits: it belongs to the digests.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }

    fn take_in(&mut self, chunk: Chunk) -> Result<(), Exceeded> {
        (self.chunk, self.at) = (chunk.bytes, 0);
        self.bytes += self.chunk.len() as u64;
        if self.before + self.bytes > self.limits.bytes {
            return Err(Exceeded { what: "unpacked bytes", limit: self.limits.bytes });
        }
        let ratio = self.bytes / chunk.compressed.max(1);
        if self.bytes > self.limits.ratio_floor && ratio >= self.limits.ratio {
            return Err(Exceeded { what: "compression ratio", limit: self.limits.ratio });
        }
        (self.progress)(chunk.compressed);
        Ok(())
    }
}

impl BufRead for TarStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len()
            && let Ok(chunk) = self.chunks.recv()
        {
            self.take_in(chunk).map_err(io::Error::other)?;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

impl Read for TarStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
