//! Reading: an image in a registry as an [`ImageSource`].

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};
use futures_util::StreamExt;
use oci_client::client::LayerDescriptor;
use tokio::sync::mpsc;

use super::auth::Access;
use super::error::{RegistryError, chain, scrub};
use super::failure::Attempt;
use super::{Reference, Registry, Shared};

/// Pieces that wait between the connection and the reader; each is what one read of the socket
/// gave, at most some hundred kilobytes.
const PIECES_AHEAD: usize = 8;
/// A server that sends nothing for this long in the middle of a blob has failed.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// An image in a registry. Its blobs are streamed: memory does not grow with them.
#[derive(Clone)]
pub struct RegistrySource {
    registry: Registry,
    reference: Reference,
}

impl RegistrySource {
    pub(super) fn new(registry: Registry, reference: Reference) -> Self {
        Self { registry, reference }
    }

    /// The image's name.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    fn get_manifest(&self, name: &str) -> Result<(Descriptor, Vec<u8>), SourceError> {
        let action = format!("read the manifest `{name}` of {}", self.reference.repository());
        let attempt = Attempt::new(&action, self.reference.repository(), &Access::Pull);
        let shared = &self.registry.shared;
        let get = || shared.block_on(shared.client.get_manifest(&attempt, name));
        shared.persist(&attempt, get).map_err(in_transport)
    }
}

impl ImageSource for RegistrySource {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.get_manifest(&self.reference.asked())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        Ok(self.get_manifest(&descriptor.digest.to_string())?.1)
    }

    /// The bytes arrive verified: a reader that reaches the end without an error has read
    /// `descriptor`'s size and digest.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let action = format!("read {} of {}", descriptor.digest, self.reference.repository());
        let attempt = Attempt::new(&action, self.reference.repository(), &Access::Pull);
        let shared = &self.registry.shared;
        let reader = shared.persist(&attempt, || open(shared, &attempt, descriptor));
        let reader = reader.map_err(in_transport)?;
        Ok(Box::new(reader))
    }
}

fn open(
    shared: &Arc<Shared>,
    attempt: &Attempt<'_>,
    descriptor: &Descriptor,
) -> Result<BlobReader, RegistryError> {
    let digest = descriptor.digest.to_string();
    let stream = shared.block_on(async {
        shared.client.authorize(attempt).await?;
        let layer = LayerDescriptor { digest: &digest, urls: &None };
        let image = attempt.repository.to_oci();
        let opened = shared.client.oci.pull_blob_stream(&image, &layer).await;
        opened.map_err(|error| shared.client.failed(attempt, error))
    })?;
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    shared.runtime().spawn(async move {
        let mut stream = stream;
        loop {
            let piece = match tokio::time::timeout(SILENCE_TIMEOUT, stream.next()).await {
                Ok(Some(piece)) => piece.map_err(|error| io::Error::other(scrub(&chain(&error)))),
                Ok(None) => return,
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the registry went silent")),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(BlobReader { pieces, current: Bytes::new(), left: descriptor.size, _shared: Arc::clone(shared) })
}

/// The reading end of a blob that a task on the runtime receives.
struct BlobReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    left: u64,
    /// Keeps the runtime alive.
    _shared: Arc<Shared>,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None if self.left == 0 => return Ok(0),
                None => {
                    let message = format!("the blob ended {} bytes early", self.left);
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
            }
            if self.current.len() as u64 > self.left {
                return Err(io::Error::other("the blob is larger than its descriptor says"));
            }
            self.left -= self.current.len() as u64;
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

fn in_transport(error: RegistryError) -> SourceError {
    SourceError::Transport(Box::new(error))
}
