//! An upload session: opened, sent chunks, asked how far it is, finished. One request each; who
//! tries again is [`super::send`].

use bytes::Bytes;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::http::{Client, header};

/// In which a registry says how large a chunk must be at least.
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// In which a registry says what it stored.
const STORED_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Where a blob is sent to.
pub(in crate::registry) struct Session {
    /// May have a signed query.
    location: Secret,
    /// A chunk must have so many bytes, unless it is the last.
    pub(in crate::registry) min_chunk: u64,
    /// So many bytes are there; none when that is to be asked.
    pub(super) offset: Option<u64>,
}

/// What stands in the way of a request of a session.
pub(in crate::registry) enum SessionError {
    /// The session is gone.
    Lost,
    /// The registry has more or less than we think.
    Elsewhere,
    /// The registry takes no chunks.
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
    /// One of an earlier run.
    pub(super) fn resumed(location: Secret, min_chunk: u64) -> Self {
        Self { location, min_chunk, offset: None }
    }

    pub(super) fn location(&self) -> &Secret {
        &self.location
    }
}

impl Client {
    /// Opens a session.
    pub(in crate::registry) async fn open_upload(
        &self,
        attempt: &RequestContext<'_>,
    ) -> Result<Session, RegistryError> {
        let ask = |http: &reqwest::Client, url: &str| {
            http.post(format!("{url}/blobs/uploads/")).header(CONTENT_LENGTH, 0)
        };
        let response = self.send(attempt, ask).await?;
        if !response.status().is_success() {
            return Err(self.refused(attempt, response).await);
        }
        self.opened(attempt, &response)
    }

    /// The session that an answer names.
    pub(super) fn opened(
        &self,
        attempt: &RequestContext<'_>,
        response: &Response,
    ) -> Result<Session, RegistryError> {
        let location = self.next_location(attempt, response, response.url())?;
        let location =
            location.ok_or_else(|| attempt.protocol("it opens an upload and does not say where"))?;
        let min_chunk = header(response, &MIN_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Session { location, min_chunk, offset: Some(0) })
    }

    /// Sends the bytes from the session's offset on, and moves it to where the registry is then.
    pub(in crate::registry) async fn send_chunk(
        &self,
        attempt: &RequestContext<'_>,
        session: &mut Session,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), SessionError> {
        let end = offset + chunk.len() as u64;
        let attempt = attempt.sized(chunk.len() as u64);
        let url = self.session_url(&attempt, session)?;
        let request = self.transport(&attempt)?.sending.patch(url.clone()).timeout(self.sending_limit);
        let request = request.header(CONTENT_TYPE, "application/octet-stream");
        let request = request.header(CONTENT_RANGE, format!("{offset}-{}", end - 1)).body(chunk);
        session.offset = None;
        let response = self.exchange(&attempt, &url, request).await?;
        if !response.status().is_success() {
            return Err(self.trouble(&attempt, Method::PATCH, response).await);
        }
        if let Some(next) = self.next_location(&attempt, &response, &url)? {
            session.location = next;
        }
        // A registry that does not say took it all.
        let reached = reached(&response).unwrap_or(end);
        if reached > end {
            return Err(attempt.protocol("it says to have more of the blob than it was sent").into());
        }
        session.offset = Some(reached);
        Ok(())
    }

    /// Asks how far the session is.
    pub(super) async fn ask_offset(
        &self,
        attempt: &RequestContext<'_>,
        session: &mut Session,
        descriptor: &Descriptor,
    ) -> Result<(), SessionError> {
        let url = self.session_url(attempt, session)?;
        let response = self.exchange(attempt, &url, self.transport(attempt)?.http.get(url.clone())).await?;
        if !response.status().is_success() {
            return Err(self.trouble(attempt, Method::GET, response).await);
        }
        if let Some(next) = self.next_location(attempt, &response, &url)? {
            session.location = next;
        }
        // One that says nothing, or more than there is, is of no use.
        let offset = reached(&response).filter(|offset| *offset <= descriptor.size);
        session.offset = Some(offset.ok_or(SessionError::Lost)?);
        Ok(())
    }

    /// Ends the session, with `rest` as the blob's last bytes.
    pub(super) async fn finish_upload(
        &self,
        attempt: &RequestContext<'_>,
        session: &mut Session,
        digest: Digest,
        rest: Bytes,
    ) -> Result<(), SessionError> {
        let attempt = attempt.sized(rest.len() as u64);
        let (url, request) = self.last_request(&attempt, session, digest, rest.len() as u64)?;
        let request = request.timeout(self.sending_limit).body(rest);
        session.offset = None;
        let response = self.exchange(&attempt, &url, request).await?;
        if !response.status().is_success() {
            return Err(self.trouble(&attempt, Method::PUT, response).await);
        }
        Ok(check_stored(&attempt, &response, digest)?)
    }

    /// Gives a session up.
    pub(in crate::registry) async fn cancel_upload(
        &self,
        attempt: &RequestContext<'_>,
        session: &Session,
    ) -> Result<(), RegistryError> {
        let url = self.session_url(attempt, session)?;
        let request = self.transport(attempt)?.http.delete(url.clone());
        let response = self.exchange(attempt, &url, request).await?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(self.refused(attempt, response).await),
        }
    }

    /// The request that ends a session, still without the `length` bytes that it sends.
    pub(super) fn last_request(
        &self,
        attempt: &RequestContext<'_>,
        session: &Session,
        digest: Digest,
        length: u64,
    ) -> Result<(Url, RequestBuilder), RegistryError> {
        let mut url = self.session_url(attempt, session)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = self
            .transport(attempt)?
            .sending
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream");
        Ok((url, request.header(CONTENT_LENGTH, length)))
    }

    async fn exchange(
        &self,
        attempt: &RequestContext<'_>,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let request = self.signed(attempt, url, request).await?;
        request.send().await.map_err(|error| attempt.transport(error))
    }

    /// A request of a session with what says who we are, which only the registry itself sees: a
    /// session may be at a storage, whose URL is signed.
    pub(super) async fn signed(
        &self,
        attempt: &RequestContext<'_>,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, RegistryError> {
        Ok(match self.is_own(attempt, url) {
            true => self.auth.authorize(attempt).await?.apply(request),
            false => request,
        })
    }

    async fn trouble(
        &self,
        attempt: &RequestContext<'_>,
        method: Method,
        response: Response,
    ) -> SessionError {
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => SessionError::Lost,
            // It cannot tell how far it is.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED if method == Method::GET => {
                SessionError::Lost
            }
            StatusCode::RANGE_NOT_SATISFIABLE => SessionError::Elsewhere,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if method == Method::PATCH => {
                SessionError::NoChunks
            }
            _ => SessionError::Failed(self.refused(attempt, response).await),
        }
    }

    fn base(&self, attempt: &RequestContext<'_>) -> String {
        self.transports.base(attempt.repository.registry())
    }

    /// Whether a URL is the registry's own.
    pub(super) fn is_own(&self, attempt: &RequestContext<'_>, url: &Url) -> bool {
        Url::parse(&self.base(attempt)).is_ok_and(|base| base.origin() == url.origin())
    }

    fn session_url(&self, attempt: &RequestContext<'_>, session: &Session) -> Result<Url, RegistryError> {
        let url = Url::parse(session.location.expose());
        url.map_err(|_| attempt.protocol("the location of its upload is no URL"))
    }

    /// The answer's `Location`, which may be relative. A registry behind a proxy that adds TLS
    /// often takes itself for one that speaks plain http: its location is asked over https all
    /// the same. Elsewhere, what is spoken over TLS is not continued without.
    fn next_location(
        &self,
        attempt: &RequestContext<'_>,
        response: &Response,
        asked: &Url,
    ) -> Result<Option<Secret>, RegistryError> {
        let Some(text) = header(response, &LOCATION) else { return Ok(None) };
        let wrong = || attempt.protocol("the location of its upload is no URL");
        let mut url = asked.join(text).map_err(|_| wrong())?;
        let base = Url::parse(&self.base(attempt)).map_err(|_| wrong())?;
        if base.scheme() == "https" && url.scheme() == "http" && url.host() == base.host() {
            let is_set = url.set_scheme("https").is_ok() && url.set_port(base.port()).is_ok();
            is_set.then_some(()).ok_or_else(wrong)?;
        }
        match (base.scheme(), url.scheme()) {
            ("http", "http") | (_, "https") => Ok(Some(Secret::new(url))),
            _ => Err(attempt.protocol("the location of its upload is not reached over https")),
        }
    }
}

/// Fails when the registry says that it stored something else.
pub(super) fn check_stored(
    attempt: &RequestContext<'_>,
    response: &Response,
    wanted: Digest,
) -> Result<(), RegistryError> {
    match header(response, &STORED_DIGEST).and_then(|text| text.parse().ok()) {
        Some(got) if got != wanted => {
            Err(RegistryError::DigestMismatch { action: attempt.action.to_owned(), wanted, got })
        }
        _ => Ok(()),
    }
}

/// How many bytes a registry says to have: `Range: 0-99` means a hundred, and so does
/// `bytes=0-99`. Nothing at all is written `0-0` by most, which is one byte by the letter: the
/// difference costs one byte at most, and only where a registry has exactly one.
fn reached(response: &Response) -> Option<u64> {
    parse_range(header(response, &RANGE)?)
}

fn parse_range(text: &str) -> Option<u64> {
    let (start, last) = text.trim().trim_start_matches("bytes=").split_once('-')?;
    match (start.parse(), last.parse::<u64>()) {
        (Ok(0), Ok(0)) => Some(0),
        (Ok(0), Ok(last)) => last.checked_add(1),
        // What docker-registry 3 writes for nothing.
        (Ok(0), Err(_)) if last == "-1" => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_many_bytes_are_there() {
        assert_eq!(parse_range("0-99"), Some(100));
        assert_eq!(parse_range("bytes=0-99"), Some(100));
        assert_eq!((parse_range("0-0"), parse_range("0--1")), (Some(0), Some(0)));
        for text in ["", "0", "5-9", "a-b", "0-18446744073709551615"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
