//! A layer's blob as a verified stream of tar bytes. A separate thread decompresses and hashes it, so that
//! this does not wait for the file system.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::decompress::Compression;
use super::error::{LimitExceeded, UnpackError};
use super::limits::UnpackLimits;
use crate::digest::{DiffId, Hashing};
use crate::oci::Descriptor;
use crate::source::{ImageSource, SourceError};
use crate::text::escape;
use crate::verified::{VerifiedReader, VerifyError};

/// Length of a chunk of tar bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Maximum number of decompressed chunks that wait for the file system: 2 MiB with [`CHUNK_BYTES`].
const MAX_WAITING_CHUNKS: usize = 8;

/// Tar bytes, and the number of blob bytes that were read up to their end.
struct Chunk {
    bytes: Vec<u8>,
    compressed: u64,
}

/// A layer: its blob, and the diff id that its tar must have.
pub(crate) struct Layer<'a> {
    pub image: &'a str,
    pub descriptor: &'a Descriptor,
    pub diff_id: DiffId,
}

impl Layer<'_> {
    /// The compression of the media type.
    pub(crate) fn compression(&self) -> Result<Compression, UnpackError> {
        Compression::of(&self.descriptor.media_type).ok_or_else(|| UnpackError::MediaType {
            layer: self.descriptor.digest,
            media_type: escape(&self.descriptor.media_type),
        })
    }

    /// Sends the tar of the blob chunk by chunk, and verifies at the end: first the blob's length and
    /// digest, because a damaged blob explains every other error, then the decoder's result, then the
    /// diff id.
    fn send(&self, blob: impl Read, chunks: &SyncSender<Chunk>) -> Result<(), UnpackError> {
        let compression = self.compression()?;
        let meter = Meter::default();
        let mut blob = VerifiedReader::new(Metered { inner: blob, meter: &meter }, self.descriptor);
        let mut tar = Hashing::new(compression.reader(&mut blob));
        let sent = pump(&mut tar, &meter, chunks);
        let (_, diff_id, _) = tar.finish();
        let sent = match sent {
            Ok(Pumped::HungUp) => return Err(self.decompress_error(io::ErrorKind::BrokenPipe.into())),
            Err(error) if meter.failed.get() => return Err(self.read_error(error).into()),
            sent => sent,
        };
        blob.finish().map_err(|error| self.read_error(error))?;
        sent.map_err(|error| self.decompress_error(error))?;
        self.check_diff_id(DiffId(diff_id))
    }

    /// Verifies the blob's length and digest without decompressing it.
    pub(crate) fn check(&self, blob: impl Read) -> Result<(), UnpackError> {
        let verified = VerifiedReader::new(blob, self.descriptor).finish();
        Ok(verified.map_err(|error| self.read_error(error))?)
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
        let (what, image) = ("layer", self.image.to_owned());
        match VerifyError::of(&source).copied() {
            Some(VerifyError { expected, expected_size, actual_size, .. })
                if actual_size != expected_size =>
            {
                let (digest, wanted, got) = (expected, expected_size, actual_size);
                SourceError::SizeMismatch { what, image, digest, wanted, got }
            }
            Some(VerifyError { expected: wanted, actual: got, .. }) => {
                SourceError::DigestMismatch { what, image, wanted, got }
            }
            None => SourceError::Io { path: format!("{image} layer {}", self.descriptor.digest), source },
        }
    }
}

/// Passes the tar of a layer to `read`, which must read all of it, and verifies the blob and the tar.
/// `before` is the number of tar bytes of the layers before this one, for the limits.
pub(crate) fn read_layer<T>(
    source: &dyn ImageSource,
    layer: &Layer<'_>,
    limits: &UnpackLimits,
    before: u64,
    progress: &dyn Fn(u64),
    read: impl FnOnce(&mut TarStream<'_>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    layer.compression()?;
    let blob = source.blob(layer.descriptor)?;
    let (sender, receiver) = sync_channel(MAX_WAITING_CHUNKS);
    thread::scope(|scope| {
        let verified = scope.spawn(move || layer.send(blob, &sender));
        let mut tar = TarStream::new(receiver, limits, before, progress);
        let done = read(&mut tar);
        drop(tar);
        let verified = verified.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match done {
            // A damaged blob explains a malformed tar.
            Err(UnpackError::Malformed { .. }) | Ok(_) => verified.and(done),
            failed => failed,
        }
    })
}

/// How sending the chunks ended.
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

/// The state of a reader that a decoder owns.
#[derive(Default)]
struct Meter {
    /// Number of bytes that were read.
    read: Cell<u64>,
    /// Whether the reader itself failed, which explains the decoder's error.
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

/// The receiving end: the tar of a layer, within the limits on its size and compression ratio.
pub(crate) struct TarStream<'a> {
    chunks: Receiver<Chunk>,
    chunk: Vec<u8>,
    /// The position in the chunk.
    at: usize,
    limits: &'a UnpackLimits,
    /// Tar bytes of the layers before this one.
    before: u64,
    /// Tar bytes of this layer so far.
    bytes: u64,
    progress: &'a dyn Fn(u64),
}

impl<'a> TarStream<'a> {
    /// Calls `progress` with the number of the blob's bytes that were processed.
    fn new(
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

    /// Reads and drops the rest, within the limits, because it is part of the digests.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }

    fn receive(&mut self, chunk: Chunk) -> Result<(), LimitExceeded> {
        (self.chunk, self.at) = (chunk.bytes, 0);
        self.bytes += self.chunk.len() as u64;
        if self.before + self.bytes > self.limits.bytes {
            return Err(LimitExceeded { what: "unpacked bytes", limit: self.limits.bytes });
        }
        let ratio = self.bytes / chunk.compressed.max(1);
        if self.bytes > self.limits.ratio_floor && ratio >= self.limits.ratio {
            return Err(LimitExceeded { what: "for the compression ratio", limit: self.limits.ratio });
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
            self.receive(chunk).map_err(io::Error::other)?;
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
