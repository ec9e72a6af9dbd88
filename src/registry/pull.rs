//! Reads an image from a registry, as an [`ImageSource`].

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};
use carafe_layers::verified::VerifiedReader;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc;

use super::client::Registry;
use super::endpoints::Endpoints;
use super::error::{RegistryError, RequestContext};
use super::executor::{Attempts, Executor};
use super::http::header;
use super::manifest;
use super::reference::Reference;
use super::referrers;

/// Maximum number of pieces between the connection and the reader. A piece is the result of one read
/// of the socket, at most some hundred kilobytes.
const MAX_QUEUED_PIECES: usize = 2;
/// A connection that delivered this many bytes before it broke is progress: the next one has the
/// complete retry budget.
const PROGRESS_BYTES: u64 = 64 << 10;

impl Registry {
    /// The image `reference`, to be read from its endpoints. Sends no request.
    pub fn source(&self, reference: &Reference) -> RegistrySource {
        let endpoints = Endpoints::new(&self.executor, reference).ok();
        RegistrySource { executor: Arc::clone(&self.executor), reference: reference.clone(), endpoints }
    }
}

/// An image in a registry. Its blobs are streamed: memory use does not grow with them.
#[derive(Clone)]
pub struct RegistrySource {
    executor: Arc<Executor>,
    reference: Reference,
    /// `None` if the configuration has an error, which each read returns.
    endpoints: Option<Endpoints>,
}

impl RegistrySource {
    fn endpoints(&self) -> Result<Endpoints, RegistryError> {
        self.endpoints.clone().map_or_else(|| Endpoints::new(&self.executor, &self.reference), Ok)
    }

    /// The reference of the image.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    fn get_manifest(&self, name: &str) -> Result<(Descriptor, Vec<u8>), SourceError> {
        let action = format!("read the manifest `{name}` of {}", self.reference.repository());
        let executor = &self.executor;
        let get =
            |context: &RequestContext<'_>| executor.block_on(manifest::get(&executor.client, context, name));
        let result = self.endpoints().and_then(|endpoints| endpoints.try_each(executor, &action, get));
        result.map_err(source_error)
    }
}

impl ImageSource for RegistrySource {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.get_manifest(&self.reference.manifest_name())
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        Ok(self.get_manifest(&descriptor.digest.to_string())?.1)
    }

    /// The bytes are verified: a reader that reaches the end without an error has read `descriptor`'s
    /// size and digest.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let endpoints = self.endpoints().map_err(source_error)?;
        let mut reader = BlobReader {
            executor: Arc::clone(&self.executor),
            action: format!("read {} of {}", descriptor.digest, self.reference.repository()),
            endpoint: endpoints.first(),
            endpoints,
            descriptor: descriptor.clone(),
            pieces: None,
            current: Bytes::new(),
            received: 0,
            received_at_failure: 0,
            attempts: Attempts::default(),
        };
        reader.connect().map_err(source_error)?;
        Ok(Box::new(VerifiedReader::new(reader, descriptor)))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        referrers::list(&self.executor, self.reference.repository(), subject).map_err(source_error)
    }
}

/// Requests a blob's bytes from `offset`. If the registry sends the complete blob, its beginning is
/// skipped.
fn open(
    executor: &Arc<Executor>,
    context: &RequestContext<'_>,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<Pieces, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        let request = http.get(format!("{url}/blobs/{}", descriptor.digest));
        if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request }
    };
    let mut response = executor.block_on(executor.client.send(context, request))?;
    executor.mark_seen(context);
    let skip = match response.status() {
        StatusCode::PARTIAL_CONTENT if starts_at(&response, offset) => 0,
        StatusCode::PARTIAL_CONTENT => return Err(context.protocol("it sent another part of the blob")),
        StatusCode::OK => offset,
        _ => return Err(executor.block_on(executor.client.rejection(context, response))),
    };
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_PIECES);
    executor.runtime().spawn(async move {
        while let Some(piece) = response.chunk().await.transpose() {
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(Pieces { receiver, skip })
}

/// Whether a partial response starts at the requested offset.
fn starts_at(response: &Response, offset: u64) -> bool {
    let range = header(response, &CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    range.and_then(|range| range.split_once('-')).is_some_and(|(start, _)| start.parse() == Ok(offset))
}

/// The pieces that a task of the runtime receives, without the first `skip` bytes.
struct Pieces {
    receiver: mpsc::Receiver<reqwest::Result<Bytes>>,
    skip: u64,
}

impl Pieces {
    /// The next piece; `None` at the end.
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

/// Reads a blob. If the connection breaks, it continues with another one; if the attempts at its
/// endpoint are used up, with the next endpoint.
struct BlobReader {
    executor: Arc<Executor>,
    action: String,
    endpoints: Endpoints,
    /// The index of the current endpoint.
    endpoint: usize,
    descriptor: Descriptor,
    /// `None` at the beginning and after a failure.
    pieces: Option<Pieces>,
    current: Bytes,
    /// The number of bytes that were received, and that number at the last failure.
    received: u64,
    received_at_failure: u64,
    attempts: Attempts,
}

impl BlobReader {
    /// Requests the remaining bytes, unless that was done.
    fn connect(&mut self) -> Result<(), RegistryError> {
        while self.pieces.is_none() {
            let context = self.endpoints.context(self.endpoint, &self.action);
            match open(&self.executor, &context, &self.descriptor, self.received) {
                Ok(pieces) => self.pieces = Some(pieces),
                Err(error) => self.recover(error)?,
            }
        }
        Ok(())
    }

    /// Receives the next piece; false at the end of the blob.
    fn fetch(&mut self) -> Result<bool, RegistryError> {
        loop {
            self.connect()?;
            let Some(pieces) = &mut self.pieces else { continue };
            let (next, context) = (pieces.next(), self.endpoints.context(self.endpoint, &self.action));
            let error = match next {
                Some(Ok(piece)) => {
                    self.received += piece.len() as u64;
                    self.current = piece;
                    return match self.received <= self.descriptor.size {
                        true => Ok(true),
                        false => Err(context.protocol("the blob is larger than the size in its descriptor")),
                    };
                }
                Some(Err(error)) => context.transport(error),
                None if self.received == self.descriptor.size => return Ok(false),
                None => {
                    let missing = self.descriptor.size - self.received;
                    context.broken(format!("the last {missing} bytes of the blob are missing").into())
                }
            };
            self.recover(error)?;
        }
    }

    /// Waits after a failure, or changes to the next endpoint.
    fn recover(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if self.received >= self.received_at_failure + PROGRESS_BYTES {
            self.attempts = Attempts::default();
        }
        (self.pieces, self.received_at_failure) = (None, self.received);
        let context = self.endpoints.context(self.endpoint, &self.action);
        if let Err(error) = self.executor.wait_for_retry(&context, &mut self.attempts, error) {
            self.endpoint = self.endpoints.next(&self.executor, self.endpoint, error)?;
            self.attempts = Attempts::default();
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

fn source_error(error: RegistryError) -> SourceError {
    SourceError::Transport(Box::new(error))
}
