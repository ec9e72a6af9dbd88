//! The monolithic upload: a blob in one streamed request, for registries that do not support chunks.
//! After a failure it is sent from its beginning.

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

use super::job::Upload;
use super::progress::UploadProgress;
use super::session::{Session, check_stored_digest};
use crate::registry::error::{RegistryError, RequestContext};

/// A blob is read and sent in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;
/// Maximum number of pieces between the reader and the connection.
const MAX_QUEUED_PIECES: usize = 4;

/// The request that sends the blob: the response, or `None` if it stalled.
type Request = JoinHandle<Option<reqwest::Result<Response>>>;

impl Upload<'_> {
    /// Sends the blob. Idempotent.
    pub(super) fn send_monolithic(
        &self,
        context: &RequestContext<'_>,
        progress: &UploadProgress<'_>,
    ) -> Result<(), RegistryError> {
        let blob_error =
            |source: SourceError| RegistryError::Blob { action: context.action.to_owned(), source };
        let reader = (self.open)().map_err(blob_error)?;
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_PIECES);
        let request = self.start_request(context, receiver)?;
        // This thread reads while a task of the runtime sends. An error of the reader takes precedence
        // over the registry's response to the incomplete request.
        feed(reader, self.descriptor, &sender, progress).map_err(|error| error.into_error(context))?;
        drop(sender);
        let (executor, client) = (self.executor, &self.executor.client);
        match executor.block_on(request) {
            Ok(Some(Ok(response))) if response.status().is_success() => {
                check_stored_digest(context, &response, self.descriptor.digest)
            }
            Ok(Some(Ok(response))) => Err(executor.block_on(client.rejection(context, response))),
            Ok(Some(Err(error))) => Err(context.transport(error)),
            Ok(None) => Err(context.broken("it receives no more bytes, and does not respond".into())),
            Err(stopped) => Err(context.broken(stopped.into())),
        }
    }

    /// Opens an upload, and starts the request that ends it. Its body ends when the channel is closed.
    fn start_request(
        &self,
        context: &RequestContext<'_>,
        receiver: mpsc::Receiver<Piece>,
    ) -> Result<Request, RegistryError> {
        let (executor, client, blob) = (self.executor, &self.executor.client, self.descriptor);
        let request = executor.block_on(async {
            let session = Session::open(client, context).await?;
            let (url, request) = session.last_request(client, context, blob.digest, blob.size)?;
            client.authorize_for(context, &url, request).await
        })?;
        let sent = Arc::new(Notify::new());
        let pieces =
            futures_util::stream::unfold((receiver, Arc::clone(&sent)), |(mut receiver, sent)| async {
                let piece = receiver.recv().await?;
                sent.notify_one();
                Some((piece, (receiver, sent)))
            });
        let response = request.body(Body::wrap_stream(pieces)).send();
        let limit = client.chunk_timeout;
        Ok(executor.runtime().spawn(async move { unless_stalled(response, &sent, limit).await }))
    }
}

/// The result of `work`; `None` if `progress` was not notified for the time `limit`.
async fn unless_stalled<T>(work: impl Future<Output = T>, progress: &Notify, limit: Duration) -> Option<T> {
    let stall = async { while tokio::time::timeout(limit, progress.notified()).await.is_ok() {} };
    tokio::select! {
        result = work => Some(result),
        () = stall => None,
    }
}

type Piece = io::Result<Bytes>;

/// Why the bytes of a blob cannot be sent.
enum FeedError {
    Read(io::Error),
    Content { expected: Digest, got: Digest },
}

impl FeedError {
    fn into_error(self, context: &RequestContext<'_>) -> RegistryError {
        let action = context.action.to_owned();
        match self {
            Self::Content { expected, got } => RegistryError::DigestMismatch { action, expected, got },
            Self::Read(source) => {
                let path = "blob".to_owned();
                RegistryError::Blob { action, source: SourceError::Io { path, source } }
            }
        }
    }
}

/// Reads a blob into the channel. The last piece is sent only after the digest was verified, so that
/// wrong bytes are never sent completely. Returns early without an error if the receiver is gone: the
/// result of the request has the cause.
fn feed(
    reader: impl Read,
    descriptor: &Descriptor,
    sender: &mpsc::Sender<Piece>,
    progress: &UploadProgress<'_>,
) -> Result<(), FeedError> {
    let mut reader = Hashing::new(reader.take(descriptor.size.saturating_add(1)));
    let (mut kept, mut sent): (Option<Bytes>, u64) = (None, 0);
    let abort = |error| {
        let _ = sender.blocking_send(Err(io::Error::other("the blob cannot be read")));
        Err(error)
    };
    loop {
        let piece = match read_piece(&mut reader) {
            Ok(piece) => piece,
            Err(error) => return abort(FeedError::Read(error)),
        };
        if piece.is_empty() {
            break;
        }
        if let Some(ready) = kept.replace(piece)
            && !send_piece(ready, sender, &mut sent, progress)
        {
            return Ok(());
        }
    }
    let (_, got, _) = reader.finish();
    if got != descriptor.digest {
        return abort(FeedError::Content { expected: descriptor.digest, got });
    }
    if let Some(last) = kept {
        send_piece(last, sender, &mut sent, progress);
    }
    Ok(())
}

/// False if the receiver is gone.
fn send_piece(
    piece: Bytes,
    sender: &mpsc::Sender<Piece>,
    sent: &mut u64,
    progress: &UploadProgress<'_>,
) -> bool {
    *sent += piece.len() as u64;
    let is_received = sender.blocking_send(Ok(piece)).is_ok();
    if is_received {
        progress.reach(*sent);
    }
    is_received
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

    /// Whether the blob is valid, and the pieces that are sent.
    fn fed(bytes: &[u8], descriptor: &Descriptor) -> (bool, Vec<Piece>) {
        let (sender, mut receiver) = mpsc::channel(MAX_QUEUED_PIECES);
        let task = Progress::silent().task(Stage::Push, "blob", None, Unit::Bytes);
        let is_valid = feed(bytes, descriptor, &sender, &UploadProgress::new(&task.meter())).is_ok();
        drop(sender);
        (is_valid, std::iter::from_fn(|| receiver.blocking_recv()).collect())
    }

    #[test]
    fn wrong_bytes_are_never_sent_completely() {
        let right = vec![7; PIECE_BYTES + 10];
        let descriptor = Descriptor::of("layer", &right);
        let mut changed = right.clone();
        changed[3] = 8;
        for wrong in [&changed[..], &right[..PIECE_BYTES], &vec![7; PIECE_BYTES + 11]] {
            let (is_valid, pieces) = fed(wrong, &descriptor);
            let sent: usize = pieces.iter().flatten().map(Bytes::len).sum();
            assert!(!is_valid && sent < right.len() && pieces.last().is_some_and(Result::is_err));
        }
    }

    #[test]
    fn right_bytes_are_sent_completely() {
        let right = vec![7; 2 * PIECE_BYTES + 10];
        let (is_valid, pieces) = fed(&right, &Descriptor::of("layer", &right));
        assert!(is_valid);
        assert_eq!(pieces.into_iter().flat_map(|piece| piece.unwrap()).collect::<Vec<u8>>(), right);
    }
}
