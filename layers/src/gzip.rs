//! Parallel gzip whose output is independent of the number of threads.
//!
//! The input is divided into blocks of [`GZIP_BLOCK`]. Each is deflated separately, with the 32 KiB
//! before it as dictionary, and ends on a byte boundary (sync flush), so that the concatenated blocks
//! are one deflate stream, in one gzip member.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, sync_channel};

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::{GZIP_BLOCK, GZIP_DICTIONARY, GZIP_LEVEL};

/// Maximum number of threads: each has up to 3.2 MiB of blocks in memory.
pub const MAX_GZIP_THREADS: usize = 32;

/// More than the maximum length of a deflated block: deflate adds five bytes for each stored piece.
const DEFLATED_CAPACITY: usize = GZIP_BLOCK + (GZIP_BLOCK >> 4);

/// Magic, deflate, no flags, mtime 0, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses the bytes that are written to it. A later `write` or [`Self::finish`] returns the errors
/// of the inner writer. Without `finish`, the output is incomplete and readers reject it.
pub struct ParallelGzip<W> {
    inner: W,
    pool: ThreadPool,
    /// The dictionary, then the bytes of the next block.
    block: Vec<u8>,
    dictionary: usize,
    /// Blocks that are being compressed, in order.
    pending: VecDeque<Receiver<io::Result<Deflated>>>,
    max_pending: usize,
    crc: Hasher,
    length: u64,
    started: bool,
}

struct Deflated {
    bytes: Vec<u8>,
    crc: Hasher,
}

impl<W: Write> ParallelGzip<W> {
    /// Compresses with `threads` threads (at most [`MAX_GZIP_THREADS`]) in addition to the caller's.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(inner: W, threads: NonZeroUsize) -> io::Result<Self> {
        let threads = threads.get().min(MAX_GZIP_THREADS);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("gzip-{index}"))
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            inner,
            pool,
            block: Vec::with_capacity(GZIP_BLOCK),
            dictionary: 0,
            pending: VecDeque::new(),
            max_pending: threads + threads.div_ceil(2),
            crc: Hasher::new(),
            length: 0,
            started: false,
        })
    }

    /// Compresses the last block, writes the trailer and returns the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.submit(FlushCompress::Finish)?;
        while !self.pending.is_empty() {
            self.write_oldest()?;
        }
        // RFC 1952: the length modulo 2^32.
        let length = self.length as u32;
        let crc = self.crc.finalize();
        self.inner.write_all(&crc.to_le_bytes())?;
        self.inner.write_all(&length.to_le_bytes())?;
        Ok(self.inner)
    }

    /// Passes the block to a thread, and begins the next one with the end of this one as dictionary.
    fn submit(&mut self, flush: FlushCompress) -> io::Result<()> {
        while self.pending.len() >= self.max_pending {
            self.write_oldest()?;
        }
        let tail = self.block.len().saturating_sub(GZIP_DICTIONARY);
        let mut next = Vec::with_capacity(GZIP_DICTIONARY + GZIP_BLOCK);
        next.extend_from_slice(&self.block[tail..]);
        let dictionary = std::mem::replace(&mut self.dictionary, next.len());
        let block = std::mem::replace(&mut self.block, next);
        let (sender, receiver) = sync_channel(1);
        self.pool.spawn(move || {
            let (dictionary, data) = block.split_at(dictionary);
            // The receiver is dropped after an error of the writer; then the block is not needed.
            let _ = sender.send(deflate(dictionary, data, flush));
        });
        self.pending.push_back(receiver);
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let block =
            oldest.recv().map_err(|_| io::Error::other("a compression thread ended unexpectedly"))??;
        if !std::mem::replace(&mut self.started, true) {
            self.inner.write_all(&HEADER)?;
        }
        self.crc.combine(&block.crc);
        self.inner.write_all(&block.bytes)
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // A full block is kept until a byte follows it: the last block ends differently.
            if self.block.len() == self.dictionary + GZIP_BLOCK {
                self.submit(FlushCompress::Sync)?;
            }
            let free = self.dictionary + GZIP_BLOCK - self.block.len();
            let (bytes, later) = rest.split_at(free.min(rest.len()));
            self.block.extend_from_slice(bytes);
            rest = later;
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Does nothing: the boundaries of blocks are part of the format.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One block as raw deflate. One call with the capacity for the worst case, because the capacity of a
/// call can affect the bytes.
fn deflate(dictionary: &[u8], data: &[u8], flush: FlushCompress) -> io::Result<Deflated> {
    let mut bytes = Vec::with_capacity(DEFLATED_CAPACITY);
    let mut compress = Compress::new(Compression::new(GZIP_LEVEL), false);
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let status = compress.compress_vec(data, &mut bytes, flush).map_err(io::Error::other)?;
    let ended = matches!(status, Status::StreamEnd) == matches!(flush, FlushCompress::Finish);
    if !ended || compress.total_in() != data.len() as u64 || bytes.len() == bytes.capacity() {
        return Err(io::Error::other("deflate did not compress a complete block"));
    }
    let mut crc = Hasher::new();
    crc.update(data);
    Ok(Deflated { bytes, crc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    fn gzip(data: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut gzip = ParallelGzip::new(Vec::new(), NonZeroUsize::new(threads).unwrap()).unwrap();
        for piece in data.chunks(piece) {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap()
    }

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut data).unwrap();
        data
    }

    /// Alternates between text, which compresses, and noise, which does not.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let mut data = Vec::with_capacity(length + 20);
        while data.len() < length {
            if data.len() / 300_000 % 2 == 0 {
                data.extend(format!("item {} of the list\n", next() % 1000).bytes());
            } else {
                data.extend(next().to_le_bytes());
            }
        }
        data.truncate(length);
        data
    }

    #[test]
    fn the_output_is_independent_of_threads_and_pieces() {
        let data = sample(5 * GZIP_BLOCK + 123);
        let one = gzip(&data, 1, data.len());
        for (threads, piece) in [(1, 512), (2, 70_000), (3, GZIP_BLOCK), (7, 3_000_001)] {
            assert!(gzip(&data, threads, piece) == one, "{threads} threads, pieces of {piece}");
        }
        assert!(gunzip(&one) == data);
    }

    #[test]
    fn decompresses_to_the_input_for_lengths_around_a_block() {
        let data = sample(2 * GZIP_BLOCK + 1);
        for length in [0, 1, GZIP_BLOCK - 1, GZIP_BLOCK, GZIP_BLOCK + 1, 2 * GZIP_BLOCK, data.len()] {
            assert!(gunzip(&gzip(&data[..length], 2, 65_536)) == data[..length], "{length}");
        }
    }

    #[test]
    fn returns_an_error_of_the_inner_writer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = ParallelGzip::new(Full, NonZeroUsize::MIN).unwrap();
        let error = gzip.write_all(&sample(8 * GZIP_BLOCK)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn decompresses_to_the_input(data in proptest::collection::vec(any::<u8>(), 0..4096), piece in 1usize..700) {
            prop_assert_eq!(gunzip(&gzip(&data, 2, piece)), data);
        }
    }
}
