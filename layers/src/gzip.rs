//! Parallel gzip whose bytes do not depend on the number of threads.
//!
//! The input is cut into blocks of [`GZIP_BLOCK`]. Each is deflated by itself, with the 32 KiB
//! before it as dictionary, and ends on a byte border (sync flush), so that the blocks one after
//! the other are one deflate stream, in one gzip member.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, sync_channel};

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::format::{GZIP_BLOCK, GZIP_DICTIONARY, GZIP_LEVEL};

/// More threads than this are not used: each holds up to 3.2 MiB in blocks under way.
pub const MAX_GZIP_THREADS: usize = 32;

/// Room for a block that does not shrink: deflate adds five bytes for each stored piece.
const DEFLATED_ROOM: usize = GZIP_BLOCK + (GZIP_BLOCK >> 4);

/// Magic, deflate, no flags, mtime 0, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Compresses what is written to it. Errors of the writer below surface in a later `write` or in
/// [`Self::finish`]. Dropped without `finish`, the output has no end and no reader accepts it.
pub struct ParallelGzip<W> {
    inner: W,
    pool: ThreadPool,
    /// The dictionary, then the bytes of the next block.
    block: Vec<u8>,
    dictionary: usize,
    underway: VecDeque<Receiver<io::Result<Deflated>>>,
    max_underway: usize,
    crc: Hasher,
    length: u64,
    started: bool,
}

struct Deflated {
    bytes: Vec<u8>,
    crc: Hasher,
}

impl<W: Write> ParallelGzip<W> {
    /// Compresses with `threads` threads (at most [`MAX_GZIP_THREADS`]) beside the caller's.
    ///
    /// # Errors
    /// When the threads cannot be started.
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
            underway: VecDeque::new(),
            max_underway: threads + threads.div_ceil(2),
            crc: Hasher::new(),
            length: 0,
            started: false,
        })
    }

    /// Compresses what is left, writes the trailer and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.submit(FlushCompress::Finish)?;
        while !self.underway.is_empty() {
            self.write_oldest()?;
        }
        // The length is modulo 2^32, as RFC 1952 has it.
        let length = self.length as u32;
        let crc = self.crc.finalize();
        self.inner.write_all(&crc.to_le_bytes())?;
        self.inner.write_all(&length.to_le_bytes())?;
        Ok(self.inner)
    }

    /// Hands the block to a thread, and begins the next one with the end of this as dictionary.
    fn submit(&mut self, flush: FlushCompress) -> io::Result<()> {
        while self.underway.len() >= self.max_underway {
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
            // The receiver is gone when the writer failed; then nobody wants the block.
            let _ = sender.send(deflate(dictionary, data, flush));
        });
        self.underway.push_back(receiver);
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.underway.pop_front() else { return Ok(()) };
        let block = oldest.recv().map_err(|_| io::Error::other("a compression thread ended early"))??;
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
            // A full block waits until a byte follows it: the last one ends differently.
            if self.block.len() == self.dictionary + GZIP_BLOCK {
                self.submit(FlushCompress::Sync)?;
            }
            let room = self.dictionary + GZIP_BLOCK - self.block.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.extend_from_slice(now);
            rest = later;
        }
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Does nothing: where blocks end is part of the format.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One block as raw deflate. In one call, with room for the worst case: how much room a call has
/// must not decide bytes.
fn deflate(dictionary: &[u8], data: &[u8], flush: FlushCompress) -> io::Result<Deflated> {
    let mut bytes = Vec::with_capacity(DEFLATED_ROOM);
    let mut compress = Compress::new(Compression::new(GZIP_LEVEL), false);
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let status = compress.compress_vec(data, &mut bytes, flush).map_err(io::Error::other)?;
    let ended = matches!(status, Status::StreamEnd) == matches!(flush, FlushCompress::Finish);
    if !ended || compress.total_in() != data.len() as u64 || bytes.len() == bytes.capacity() {
        return Err(io::Error::other("deflate did not take a block whole"));
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

    /// Text that compresses, noise that does not, in turns.
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
    fn the_bytes_do_not_depend_on_threads_or_pieces() {
        let data = sample(5 * GZIP_BLOCK + 123);
        let one = gzip(&data, 1, data.len());
        for (threads, piece) in [(1, 512), (2, 70_000), (3, GZIP_BLOCK), (7, 3_000_001)] {
            assert!(gzip(&data, threads, piece) == one, "{threads} threads, pieces of {piece}");
        }
        assert!(gunzip(&one) == data);
    }

    #[test]
    fn every_length_around_a_block_reads_back() {
        let data = sample(2 * GZIP_BLOCK + 1);
        for length in [0, 1, GZIP_BLOCK - 1, GZIP_BLOCK, GZIP_BLOCK + 1, 2 * GZIP_BLOCK, data.len()] {
            assert!(gunzip(&gzip(&data[..length], 2, 65_536)) == data[..length], "{length}");
        }
    }

    #[test]
    fn a_writers_error_surfaces() {
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
        fn anything_reads_back(data in proptest::collection::vec(any::<u8>(), 0..4096), piece in 1usize..700) {
            prop_assert_eq!(gunzip(&gzip(&data, 2, piece)), data);
        }
    }
}
