//! Reads many small files with several threads ahead of the thread that writes the layer: in order,
//! with bounded memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::fs::OFlags;

use crate::tree::{Entry, EntryKind};

/// Maximum length of a file that is read ahead, in bytes; the writer streams larger ones.
pub(crate) const MAX_READ_AHEAD_BYTES: u64 = 1 << 20;

/// A batch ends with the entry that exceeds this many bytes, or [`MAX_BATCH_ENTRIES`]. Up to three
/// batches are in memory: one is being written, one is waiting, one is being read.
const BATCH_BYTES: u64 = 4 << 20;
const MAX_BATCH_ENTRIES: usize = 512;

/// More than there are cores, because reads wait for the disk.
const READ_THREADS: usize = 16;

/// The bytes after an entry's header.
pub(crate) enum Content {
    /// None: a directory, a link, an empty file.
    Empty,
    /// All bytes of a file.
    Bytes(Vec<u8>),
    /// The file is too large to be read ahead.
    Stream,
}

/// Entries, and the result of reading each.
pub(crate) type Batch<'a> = (&'a [Entry], Vec<io::Result<Content>>);

/// Reads the contents of `entries` in the background and sends them in order. Dropping the receiver
/// stops the threads.
///
/// # Errors
/// If the threads cannot be started.
pub(crate) fn read_ahead<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    entries: &'env [Entry],
) -> io::Result<Receiver<Batch<'env>>> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(READ_THREADS)
        .thread_name(|index| format!("read-{index}"))
        .build()
        .map_err(io::Error::other)?;
    let (sender, receiver) = sync_channel(1);
    scope.spawn(move || {
        let mut rest = entries;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_length(rest));
            rest = later;
            if sender.send((batch, read_batch(&pool, batch))).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The number of `entries` (which are not empty) in the next batch: at least one.
fn batch_length(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let within = |entry: &&Entry| {
        bytes += Some(entry.size()).filter(|&size| size <= MAX_READ_AHEAD_BYTES).unwrap_or(0);
        bytes < BATCH_BYTES
    };
    (entries.iter().take(MAX_BATCH_ENTRIES).take_while(within).count() + 1).min(entries.len())
}

fn read_batch(pool: &ThreadPool, batch: &[Entry]) -> Vec<io::Result<Content>> {
    pool.install(|| batch.par_iter().with_max_len(8).map(read).collect())
}

fn read(entry: &Entry) -> io::Result<Content> {
    match entry.kind {
        EntryKind::File { size, .. } if size > MAX_READ_AHEAD_BYTES => Ok(Content::Stream),
        EntryKind::File { size: 1.., .. } => read_all(entry).map(Content::Bytes),
        EntryKind::File { .. } | EntryKind::Directory | EntryKind::Symlink { .. } => Ok(Content::Empty),
    }
}

fn read_all(entry: &Entry) -> io::Result<Vec<u8>> {
    // One byte more than expected, to detect that the file has grown.
    let limit = entry.size() + 1;
    let mut bytes = Vec::with_capacity(limit as usize);
    open(entry)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != entry.size() {
        return Err(size_changed());
    }
    Ok(bytes)
}

/// Opens a file for reading. If a link or a FIFO has replaced it, does not follow the link or wait for
/// the FIFO.
pub(crate) fn open(entry: &Entry) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(entry.host())
}

/// The error for a file whose length differs from that in the list of entries.
pub(crate) fn size_changed() -> io::Error {
    io::Error::other("the size of the file changed while it was packed")
}
