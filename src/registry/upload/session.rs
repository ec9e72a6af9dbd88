//! An upload session and its requests. None of them is repeated here; see [`super::chunked`].

use bytes::Bytes;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::http::{Client, header};

/// The header with the registry's minimum chunk size.
const MIN_CHUNK_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The header with the digest of what a registry has stored.
const STORED_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An open upload.
pub(crate) struct Session {
    /// The URL of the next request. It may be presigned.
    location: Secret,
    /// The minimum size of a chunk, except for the last one.
    pub(crate) min_chunk: u64,
    /// The number of bytes that the registry has; `None` if it must be requested.
    pub(super) offset: Option<u64>,
}

/// Why a request of a session failed.
pub(crate) enum SessionError {
    /// The session does not exist any more.
    Lost,
    /// The registry has more or fewer bytes than expected.
    WrongOffset,
    /// The registry does not support chunks.
    NoChunks,
    /// Anything else.
    Failed(RegistryError),
}

impl From<RegistryError> for SessionError {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

impl Session {
    /// Opens an upload.
    pub(crate) async fn open(client: &Client, context: &RequestContext<'_>) -> Result<Self, RegistryError> {
        let request = |http: &reqwest::Client, url: &str| {
            http.post(format!("{url}/blobs/uploads/")).header(CONTENT_LENGTH, 0)
        };
        let response = client.send(context, request).await?;
        match response.status().is_success() {
            true => Self::from_response(client, context, &response),
            false => Err(client.rejection(context, response).await),
        }
    }

    /// The upload that a response has opened.
    pub(super) fn from_response(
        client: &Client,
        context: &RequestContext<'_>,
        response: &Response,
    ) -> Result<Self, RegistryError> {
        let location = next_location(client, context, response, response.url())?;
        let location = location.ok_or_else(|| context.protocol("it opened an upload without a location"))?;
        let min_chunk = header(response, &MIN_CHUNK_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { location, min_chunk, offset: Some(0) })
    }

    /// An upload of an earlier run.
    pub(super) fn resumed(location: Secret, min_chunk: u64) -> Self {
        Self { location, min_chunk, offset: None }
    }

    pub(super) fn location(&self) -> &Secret {
        &self.location
    }

    fn url(&self, context: &RequestContext<'_>) -> Result<Url, RegistryError> {
        let url = Url::parse(self.location.expose());
        url.map_err(|_| context.protocol("the location of its upload is not a URL"))
    }

    /// Sends the bytes that follow `offset`, and updates the session's offset.
    pub(crate) async fn send_chunk(
        &mut self,
        client: &Client,
        context: &RequestContext<'_>,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), SessionError> {
        let end = offset + chunk.len() as u64;
        let context = context.with_size(chunk.len() as u64);
        let url = self.url(&context)?;
        let request = client.transport(&context)?.sending.patch(url.clone()).timeout(client.chunk_timeout);
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        let request = request.header(CONTENT_RANGE, format!("{offset}-{}", end - 1)).body(chunk);
        self.offset = None;
        let response = client.send_to(&context, &url, request).await?;
        if !response.status().is_success() {
            return Err(session_error(client, &context, Method::PATCH, response).await);
        }
        self.follow(client, &context, &response, &url)?;
        // A registry that reports no range has received all of the chunk.
        let received = received_bytes(&response).unwrap_or(end);
        if received > end {
            return Err(context.protocol("it reports more bytes of the blob than were sent").into());
        }
        self.offset = Some(received);
        Ok(())
    }

    /// Requests the session's offset from the registry.
    pub(super) async fn request_offset(
        &mut self,
        client: &Client,
        context: &RequestContext<'_>,
        descriptor: &Descriptor,
    ) -> Result<(), SessionError> {
        let url = self.url(context)?;
        let request = client.transport(context)?.http.get(url.clone());
        let response = client.send_to(context, &url, request).await?;
        if !response.status().is_success() {
            return Err(session_error(client, context, Method::GET, response).await);
        }
        self.follow(client, context, &response, &url)?;
        // Without an offset, or with one beyond the blob's end, the session is useless.
        let offset = received_bytes(&response).filter(|offset| *offset <= descriptor.size);
        self.offset = Some(offset.ok_or(SessionError::Lost)?);
        Ok(())
    }

    /// Ends the upload; `rest` is the last part of the blob.
    pub(super) async fn finish(
        &mut self,
        client: &Client,
        context: &RequestContext<'_>,
        digest: Digest,
        rest: Bytes,
    ) -> Result<(), SessionError> {
        let context = context.with_size(rest.len() as u64);
        let (url, request) = self.last_request(client, &context, digest, rest.len() as u64)?;
        let request = request.timeout(client.chunk_timeout).body(rest);
        self.offset = None;
        let response = client.send_to(&context, &url, request).await?;
        if !response.status().is_success() {
            return Err(session_error(client, &context, Method::PUT, response).await);
        }
        Ok(check_stored_digest(&context, &response, digest)?)
    }

    /// The request that ends the upload, without its body of `length` bytes.
    pub(super) fn last_request(
        &self,
        client: &Client,
        context: &RequestContext<'_>,
        digest: Digest,
        length: u64,
    ) -> Result<(Url, RequestBuilder), RegistryError> {
        let mut url = self.url(context)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = client.transport(context)?.sending.put(url.clone());
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        Ok((url, request.header(CONTENT_LENGTH, length)))
    }

    /// Cancels the upload.
    pub(crate) async fn cancel(
        &self,
        client: &Client,
        context: &RequestContext<'_>,
    ) -> Result<(), RegistryError> {
        let url = self.url(context)?;
        let request = client.transport(context)?.http.delete(url.clone());
        let response = client.send_to(context, &url, request).await?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(client.rejection(context, response).await),
        }
    }

    /// Updates the location, if the response has a new one.
    fn follow(
        &mut self,
        client: &Client,
        context: &RequestContext<'_>,
        response: &Response,
        requested: &Url,
    ) -> Result<(), RegistryError> {
        if let Some(next) = next_location(client, context, response, requested)? {
            self.location = next;
        }
        Ok(())
    }
}

/// What an error status means for the session.
async fn session_error(
    client: &Client,
    context: &RequestContext<'_>,
    method: Method,
    response: Response,
) -> SessionError {
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => SessionError::Lost,
        // The registry cannot report an offset.
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED if method == Method::GET => {
            SessionError::Lost
        }
        StatusCode::RANGE_NOT_SATISFIABLE => SessionError::WrongOffset,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if method == Method::PATCH => {
            SessionError::NoChunks
        }
        _ => SessionError::Failed(client.rejection(context, response).await),
    }
}

/// The response's `Location`, which may be relative. A registry behind a proxy that terminates TLS
/// often sends a location with http: it is requested over https. A location on another host must
/// be https if the registry's is.
fn next_location(
    client: &Client,
    context: &RequestContext<'_>,
    response: &Response,
    requested: &Url,
) -> Result<Option<Secret>, RegistryError> {
    let Some(text) = header(response, &LOCATION) else { return Ok(None) };
    let invalid = || context.protocol("the location of its upload is not a URL");
    let mut url = requested.join(text).map_err(|_| invalid())?;
    let base = Url::parse(&client.transports.base(context.host())).map_err(|_| invalid())?;
    if base.scheme() == "https" && url.scheme() == "http" && url.host() == base.host() {
        let is_set = url.set_scheme("https").is_ok() && url.set_port(base.port()).is_ok();
        is_set.then_some(()).ok_or_else(invalid)?;
    }
    match (base.scheme(), url.scheme()) {
        ("http", "http") | (_, "https") => Ok(Some(Secret::new(url))),
        _ => Err(context.protocol("the location of its upload is not https")),
    }
}

/// Fails if the registry reports another digest than `expected` for what it has stored.
pub(super) fn check_stored_digest(
    context: &RequestContext<'_>,
    response: &Response,
    expected: Digest,
) -> Result<(), RegistryError> {
    match header(response, &STORED_DIGEST).and_then(|text| text.parse().ok()) {
        Some(got) if got != expected => {
            Err(RegistryError::DigestMismatch { action: context.action.to_owned(), expected, got })
        }
        _ => Ok(()),
    }
}

/// The number of bytes that the registry has received: `Range: 0-99` and `bytes=0-99` are a hundred.
/// Most registries report no bytes at all as `0-0`, which would be one byte: the difference costs at
/// most one byte, and only if a registry has exactly one.
fn received_bytes(response: &Response) -> Option<u64> {
    parse_range(header(response, &RANGE)?)
}

fn parse_range(text: &str) -> Option<u64> {
    let (start, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    match (start.parse(), last.parse::<u64>()) {
        (Ok(0), Ok(0)) => Some(0),
        (Ok(0), Ok(last)) => last.checked_add(1),
        // docker-registry 3 reports no bytes like this.
        (Ok(0), Err(_)) if last == "-1" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_number_of_received_bytes() {
        assert_eq!(parse_range("0-99"), Some(100));
        assert_eq!(parse_range("bytes=0-99"), Some(100));
        assert_eq!((parse_range("0-0"), parse_range("0--1")), (Some(0), Some(0)));
        for text in ["", "0", "5-9", "a-b", "0-18446744073709551615"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
