//! Reading: an image in a registry as an [`ImageSource`].

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use carafe_layers::digest::{Digest, Hashing};
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::endpoints::Endpoints;
use super::error::{RegistryError, RequestContext};
use super::http::header;
use super::reference::Reference;
use super::retry::RetryState;
use super::shared::Shared;

/// Pieces that wait between the connection and the reader; each is what one read of the socket
/// gave, at most some hundred kilobytes.
const PIECES_AHEAD: usize = 2;
/// A connection that gave so many bytes before it broke was worth it: the next one has a full
/// budget of tries.
const PROGRESS_BYTES: u64 = 64 << 10;

/// An image in a registry. Its blobs are streamed: memory does not grow with them.
#[derive(Clone)]
pub struct RegistrySource {
    shared: Arc<Shared>,
    reference: Reference,
    /// None where there is none: who asks is told why.
    route: Option<Endpoints>,
}

impl RegistrySource {
    pub(super) fn new(shared: Arc<Shared>, reference: Reference) -> Self {
        let route = Endpoints::new(&shared, &reference).ok();
        Self { shared, reference, route }
    }

    fn route(&self) -> Result<Endpoints, RegistryError> {
        self.route.clone().map_or_else(|| Endpoints::new(&self.shared, &self.reference), Ok)
    }

    /// The image's name.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    fn get_manifest(&self, name: &str) -> Result<(Descriptor, Vec<u8>), SourceError> {
        let action = format!("read the manifest `{name}` of {}", self.reference.repository());
        let shared = &self.shared;
        let get = |attempt: &RequestContext<'_>| shared.block_on(shared.client.get_manifest(attempt, name));
        self.route().and_then(|route| route.walk(shared, &action, get)).map_err(in_transport)
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
        let route = self.route().map_err(in_transport)?;
        let mut reader = BlobReader {
            shared: Arc::clone(&self.shared),
            action: action.clone(),
            place: route.first(),
            route,
            descriptor: descriptor.clone(),
            pieces: None,
            current: Bytes::new(),
            received: 0,
            failed_at: 0,
            tries: RetryState::default(),
        };
        reader.connect().map_err(in_transport)?;
        let reader = Some(Hashing::new(reader));
        Ok(Box::new(Verified { reader, action, wanted: descriptor.digest }))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        self.shared.referrers(self.reference.repository(), subject).map_err(in_transport)
    }
}

/// Asks for a blob's bytes from `offset` on. A registry that gives all of it is listened to from
/// there.
fn open(
    shared: &Arc<Shared>,
    attempt: &RequestContext<'_>,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<Pieces, RegistryError> {
    let ask = |http: &reqwest::Client, url: &str| {
        let request = http.get(format!("{url}/blobs/{}", descriptor.digest));
        if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request }
    };
    let mut response = shared.block_on(shared.client.send(attempt, ask))?;
    shared.seen_hosts.add(attempt.repository.registry());
    let skip = match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(&response, offset) => 0,
        StatusCode::PARTIAL_CONTENT => return Err(attempt.protocol("it sends another part of the blob")),
        StatusCode::OK => offset,
        _ => return Err(shared.block_on(shared.client.refused(attempt, response))),
    };
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    shared.runtime().spawn(async move {
        while let Some(piece) = response.chunk().await.transpose() {
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(Pieces { receiver, skip })
}

/// Whether a partial answer is the one that was asked for.
fn starts_at(response: &Response, offset: u64) -> bool {
    let range = header(response, &CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    range.and_then(|range| range.split_once('-')).is_some_and(|(start, _)| start.parse() == Ok(offset))
}

/// What a task on the runtime receives; the first `skip` bytes are not wanted.
struct Pieces {
    receiver: mpsc::Receiver<reqwest::Result<Bytes>>,
    skip: u64,
}

impl Pieces {
    /// None at the end.
    fn next(&mut self) -> Option<reqwest::Result<Bytes>> {
        loop {
            let mut piece = match self.receiver.blocking_recv()? {
                Ok(piece) => piece,
                Err(error) => return Some(Err(error)),
            };
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            piece.advance(skipped as usize);
            if !piece.is_empty() {
                return Some(Ok(piece));
            }
        }
    }
}

/// The reading end of a blob. When its connection breaks, it goes on with another; when its place
/// is no longer worth asking, from the next place.
struct BlobReader {
    shared: Arc<Shared>,
    action: String,
    route: Endpoints,
    place: usize,
    descriptor: Descriptor,
    /// None at the beginning and after a failure.
    pieces: Option<Pieces>,
    current: Bytes,
    /// So many bytes have come, and so many had come when it last failed.
    received: u64,
    failed_at: u64,
    tries: RetryState,
}

impl BlobReader {
    /// Asks for the bytes from where it is on, unless they are on their way.
    fn connect(&mut self) -> Result<(), RegistryError> {
        while self.pieces.is_none() {
            let attempt = self.route.attempt(self.place, &self.action);
            match open(&self.shared, &attempt, &self.descriptor, self.received) {
                Ok(pieces) => self.pieces = Some(pieces),
                Err(error) => self.recover(error)?,
            }
        }
        Ok(())
    }

    /// Fetches the next piece; false at the blob's end.
    fn fetch(&mut self) -> Result<bool, RegistryError> {
        loop {
            self.connect()?;
            let Some(pieces) = &mut self.pieces else { continue };
            let (next, attempt) = (pieces.next(), self.route.attempt(self.place, &self.action));
            let error = match next {
                Some(Ok(piece)) => {
                    self.received += piece.len() as u64;
                    self.current = piece;
                    return match self.received <= self.descriptor.size {
                        true => Ok(true),
                        false => Err(attempt.protocol("the blob is larger than its descriptor says")),
                    };
                }
                Some(Err(error)) => attempt.transport(error),
                None if self.received == self.descriptor.size => return Ok(false),
                None => {
                    let left = self.descriptor.size - self.received;
                    attempt.broken(format!("the blob ended {left} bytes early").into())
                }
            };
            self.recover(error)?;
        }
    }

    /// What to do after a failure: wait, or go to the next place.
    fn recover(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if self.received >= self.failed_at + PROGRESS_BYTES {
            self.tries = RetryState::default();
        }
        (self.pieces, self.failed_at) = (None, self.received);
        let attempt = self.route.attempt(self.place, &self.action);
        if let Err(error) = self.shared.again(&attempt, &mut self.tries, error) {
            self.place = self.route.after(&self.shared, self.place, error)?;
            self.tries = RetryState::default();
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            if !self.fetch().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A blob that has the right digest when its end is reached without an error.
struct Verified {
    reader: Option<Hashing<BlobReader>>,
    action: String,
    wanted: Digest,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let count = reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(reader) = self.reader.take()
        {
            let (_, got, _) = reader.finish();
            if got != self.wanted {
                let (action, wanted) = (self.action.clone(), self.wanted);
                return Err(io::Error::other(RegistryError::DigestMismatch { action, wanted, got }));
            }
        }
        Ok(count)
    }
}

fn in_transport(error: RegistryError) -> SourceError {
    SourceError::Transport(Box::new(error))
}
