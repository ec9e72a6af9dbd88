//! Reading many small files from a cold disk: several threads ahead of the one that writes, in
//! order, in bounded memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::fs::OFlags;

use crate::tree::{Entry, EntryKind};

/// Files up to this length are read ahead; larger ones are streamed by whoever writes them.
pub(crate) const STREAM_ABOVE: u64 = 1 << 20;

/// A batch ends with the entry that takes it over this many bytes, or over [`BATCH_ENTRIES`]. Up
/// to three batches are in memory: one being written, one waiting, one being read.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_ENTRIES: usize = 512;

/// Reads wait for the disk and not for a core, so there are more of them than cores.
const READERS: usize = 16;

/// What an entry's header is followed by.
pub(crate) enum Content {
    /// Nothing: a folder, a link, an empty file.
    Nothing,
    /// All of it.
    Whole(Vec<u8>),
    /// Too large to be read ahead.
    Stream,
}

/// Entries and what became of reading each.
pub(crate) type Batch<'a> = (&'a [Entry], Vec<io::Result<Content>>);

/// Reads the contents of `entries` in the background and yields them in order. Dropping the
/// receiver ends the reading.
///
/// # Errors
/// When the threads cannot be started.
pub(crate) fn read_ahead<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    entries: &'env [Entry],
) -> io::Result<Receiver<Batch<'env>>> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(READERS)
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

/// How many of `entries` (not empty) make the next batch: at least one.
fn batch_length(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let within = |entry: &&Entry| {
        bytes += Some(entry.size()).filter(|&size| size <= STREAM_ABOVE).unwrap_or(0);
        bytes < BATCH_BYTES
    };
    (entries.iter().take(BATCH_ENTRIES).take_while(within).count() + 1).min(entries.len())
}

fn read_batch(pool: &ThreadPool, batch: &[Entry]) -> Vec<io::Result<Content>> {
    pool.install(|| batch.par_iter().with_max_len(8).map(read).collect())
}

fn read(entry: &Entry) -> io::Result<Content> {
    match entry.kind {
        EntryKind::File { size, .. } if size > STREAM_ABOVE => Ok(Content::Stream),
        EntryKind::File { size: 1.., .. } => read_whole(entry).map(Content::Whole),
        EntryKind::File { .. } | EntryKind::Directory | EntryKind::Symlink { .. } => Ok(Content::Nothing),
    }
}

fn read_whole(entry: &Entry) -> io::Result<Vec<u8>> {
    // One byte more than there should be, so that growth shows.
    let limit = entry.size() + 1;
    let mut bytes = Vec::with_capacity(limit as usize);
    open(entry)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != entry.size() {
        return Err(changed());
    }
    Ok(bytes)
}

/// Opens a file for reading; a link or a fifo that has taken its place is not followed or waited
/// for.
pub(crate) fn open(entry: &Entry) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(entry.host())
}

/// The error for a file that is not as long as it was when the tree was listed.
pub(crate) fn changed() -> io::Error {
    io::Error::other("its size changed while it was being packed")
}
