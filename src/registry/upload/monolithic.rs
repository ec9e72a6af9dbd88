//! A blob in one streamed request, for registries that take no chunks. After a failure it is sent
//! from its beginning.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carafe_layers::digest::{Digest, Hashing};
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;
use reqwest::{Body, Response};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::{Upload, UploadProgress, session};
use crate::registry::error::{RegistryError, RequestContext};

/// A blob is read and sent in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait between the reader and the connection.
const PIECES_AHEAD: usize = 4;

impl Upload<'_> {
    /// Sends the blob; idempotent.
    pub(super) fn send_whole(
        &self,
        attempt: &RequestContext<'_>,
        shown: &UploadProgress<'_>,
    ) -> Result<(), RegistryError> {
        let blob_error =
            |source: SourceError| RegistryError::Blob { action: attempt.action.to_owned(), source };
        let reader = (self.open)().map_err(blob_error)?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let verdict = self.put(attempt, receiver)?;
        // This thread reads while a task on the runtime sends. What the reader finds wrong counts
        // before what the registry makes of it.
        feed(reader, self.descriptor, &sender, shown).map_err(|wrong| wrong.explain(attempt))?;
        drop(sender);
        let (shared, client) = (self.shared, &self.shared.client);
        match shared.block_on(verdict) {
            Ok(Some(Ok(response))) if response.status().is_success() => {
                session::check_stored(attempt, &response, self.descriptor.digest)
            }
            Ok(Some(Ok(response))) => Err(shared.block_on(client.refused(attempt, response))),
            Ok(Some(Err(error))) => Err(attempt.transport(error)),
            Ok(None) => Err(attempt.broken("it takes no more bytes, and does not answer".into())),
            Err(stopped) => Err(attempt.broken(stopped.into())),
        }
    }

    /// Opens an upload, and starts the request that ends it; that ends when the channel does.
    fn put(
        &self,
        attempt: &RequestContext<'_>,
        receiver: mpsc::Receiver<Piece>,
    ) -> Result<JoinHandle<Option<reqwest::Result<Response>>>, RegistryError> {
        let (shared, blob) = (self.shared, self.descriptor);
        let request = shared.block_on(async {
            let session = shared.client.open_upload(attempt).await?;
            let (url, request) = shared.client.last_request(attempt, &session, blob.digest, blob.size)?;
            shared.client.signed(attempt, &url, request).await
        })?;
        let moved = Arc::new(Notify::new());
        let pieces =
            futures_util::stream::unfold((receiver, Arc::clone(&moved)), |(mut receiver, moved)| async {
                let piece = receiver.recv().await?;
                moved.notify_one();
                Some((piece, (receiver, moved)))
            });
        let answer = request.body(Body::wrap_stream(pieces)).send();
        let limit = shared.client.sending_limit;
        Ok(shared.runtime().spawn(async move { unless_still(answer, &moved, limit).await }))
    }
}

/// What `work` gives; none if nothing `moved` for so long.
async fn unless_still<T>(work: impl Future<Output = T>, moved: &Notify, limit: Duration) -> Option<T> {
    let stillness = async { while tokio::time::timeout(limit, moved.notified()).await.is_ok() {} };
    tokio::select! {
        done = work => Some(done),
        () = stillness => None,
    }
}

type Piece = io::Result<Bytes>;

/// Why a blob's bytes cannot be sent.
enum Wrong {
    Read(io::Error),
    Content { wanted: Digest, got: Digest },
}

impl Wrong {
    fn explain(self, attempt: &RequestContext<'_>) -> RegistryError {
        let action = attempt.action.to_owned();
        match self {
            Self::Content { wanted, got } => RegistryError::DigestMismatch { action, wanted, got },
            Self::Read(source) => {
                let path = "blob".to_owned();
                RegistryError::Blob { action, source: SourceError::Io { path, source } }
            }
        }
    }
}

/// Reads a blob into the channel. One piece is held back until the whole is known to be what the
/// descriptor says, so that wrong bytes are never completely sent. Ends early, and well, when the
/// other side has hung up: its verdict says why.
fn feed(
    reader: impl Read,
    descriptor: &Descriptor,
    sender: &mpsc::Sender<Piece>,
    shown: &UploadProgress<'_>,
) -> Result<(), Wrong> {
    let mut reader = Hashing::new(reader.take(descriptor.size.saturating_add(1)));
    let (mut held, mut sent): (Option<Bytes>, u64) = (None, 0);
    let give_up = |wrong| {
        let _ = sender.blocking_send(Err(io::Error::other("the blob cannot be read")));
        Err(wrong)
    };
    loop {
        let piece = match read_piece(&mut reader) {
            Ok(piece) => piece,
            Err(error) => return give_up(Wrong::Read(error)),
        };
        if piece.is_empty() {
            break;
        }
        if let Some(ready) = held.replace(piece)
            && !hand_over(ready, sender, &mut sent, shown)
        {
            return Ok(());
        }
    }
    let (_, got, _) = reader.finish();
    if got != descriptor.digest {
        return give_up(Wrong::Content { wanted: descriptor.digest, got });
    }
    if let Some(last) = held {
        hand_over(last, sender, &mut sent, shown);
    }
    Ok(())
}

fn hand_over(piece: Bytes, sender: &mpsc::Sender<Piece>, sent: &mut u64, shown: &UploadProgress<'_>) -> bool {
    *sent += piece.len() as u64;
    let is_taken = sender.blocking_send(Ok(piece)).is_ok();
    if is_taken {
        shown.reach(*sent);
    }
    is_taken
}

/// A full piece, or what is left; empty at the end.
fn read_piece(reader: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    reader.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_builder::progress::{Progress, Stage, Unit};

    /// What arrives at the other end.
    fn fed(bytes: &[u8], descriptor: &Descriptor) -> (bool, Vec<Piece>) {
        let (sender, mut receiver) = mpsc::channel(PIECES_AHEAD);
        let task = Progress::silent().task(Stage::Push, "blob", None, Unit::Bytes);
        let is_sound = feed(bytes, descriptor, &sender, &UploadProgress::new(&task.meter())).is_ok();
        drop(sender);
        (is_sound, std::iter::from_fn(|| receiver.blocking_recv()).collect())
    }

    #[test]
    fn wrong_bytes_are_never_completely_sent() {
        let right = vec![7; PIECE_BYTES + 10];
        let descriptor = Descriptor::of("layer", &right);
        let mut changed = right.clone();
        changed[3] = 8;
        for wrong in [&changed[..], &right[..PIECE_BYTES], &vec![7; PIECE_BYTES + 11]] {
            let (is_sound, pieces) = fed(wrong, &descriptor);
            let sent: usize = pieces.iter().flatten().map(Bytes::len).sum();
            assert!(!is_sound && sent < right.len() && pieces.last().is_some_and(Result::is_err));
        }
    }

    #[test]
    fn right_bytes_arrive_whole() {
        let right = vec![7; 2 * PIECE_BYTES + 10];
        let (is_sound, pieces) = fed(&right, &Descriptor::of("layer", &right));
        assert!(is_sound);
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.unwrap()).collect::<Vec<u8>>(), right);
    }
}
