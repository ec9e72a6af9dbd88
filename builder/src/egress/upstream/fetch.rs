//! Fetches one response: sends the request until the response is complete, or gives up.

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::Response;

use super::address_filter::PrivateAddress;
use super::client::{Client, Endpoint};
use super::content_check::objection;
use super::error::{AttemptError, UpstreamError};
use super::partial::PartialBody;
use super::recheck::{Recheck, is_html_instead_of_json};
use super::response_head::ResponseHead;
use super::retry::Attempts;
use super::{mismatch, pkt_line, simple_api};
use crate::egress::body_store::{BodyStore, Spool};
use crate::egress::recording::{Method, RecordedRequest, RecordedResponse};
use crate::error_chain::error_chain;
use crate::net::Credential;
use crate::net::retry::RetryAfter;

/// A request, with everything that is sent.
pub(in crate::egress) struct UpstreamRequest {
    /// What determines the response.
    pub request: RecordedRequest,
    /// Headers that are sent but do not determine the response, such as `User-Agent`.
    pub extra: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// The response to `request`; its complete body is in `bodies`. With a `recorded` response, only
    /// a response with the same status and body is accepted; any other counts as a failure that may
    /// be transient, as replicas may differ for a moment. `on_retry` gets the reason of each retry.
    pub async fn fetch(
        &self,
        request: &UpstreamRequest,
        recorded: Option<&RecordedResponse>,
        bodies: &BodyStore,
        on_retry: &(dyn Fn(String) + Sync),
    ) -> Result<RecordedResponse, UpstreamError> {
        let private = |PrivateAddress(address)| UpstreamError::PrivateAddress(address);
        let endpoint = self.endpoint(&request.request.url).map_err(private)?;
        let mut partial = PartialBody::default();
        let mut recheck = Recheck::default();
        let mut attempts = Attempts::new(self.upstream.retry_policy);
        loop {
            let error = match self.attempt(&endpoint, request, recorded, bodies, &mut partial).await {
                Ok((response, has_marked_end)) => {
                    let is_less_preferred =
                        recorded.is_none() && is_html_instead_of_json(&request.request, &response);
                    match recheck.accepts(&response, has_marked_end, is_less_preferred) {
                        Ok(true) => return Ok(response),
                        Ok(false) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let (reason, pause) = attempts.after(error)?;
            on_retry(reason);
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends the request once. The flag tells whether the body is certainly complete: its end was
    /// marked, or it is the recorded body.
    async fn attempt(
        &self,
        endpoint: &Endpoint<'_>,
        request: &UpstreamRequest,
        recorded: Option<&RecordedResponse>,
        bodies: &BodyStore,
        partial: &mut PartialBody,
    ) -> Result<(RecordedResponse, bool), AttemptError> {
        let mut sent = match request.request.method {
            Method::Get => endpoint.client.get(endpoint.url.as_url().clone()),
            Method::Post => endpoint.client.post(endpoint.url.as_url().clone()).body(request.body.clone()),
        };
        sent = sent.headers(headers(endpoint, request)?).headers(partial.headers());
        let mut response = sent.send().await.map_err(|error| classify(&error))?;
        let status = response.status().as_u16();
        check_status(endpoint, &response)?;
        let (mut spool, status) = match partial.resume(&response)? {
            Some(spool) => (spool, 200),
            None => (bodies.spool()?, status),
        };
        let head = ResponseHead { status, ..self.head(endpoint, &response)? };
        let is_complete = head.has_marked_end || recorded.is_some();
        match receive(&mut response, &mut spool).await {
            Ok(()) => {}
            Err(error) => {
                partial.keep(spool, &response);
                return Err(error);
            }
        }
        Ok((self.accept(&request.request, recorded, head, spool, bodies).await?, is_complete))
    }

    /// [`accept`] on a blocking thread: normalizing may take long.
    async fn accept(
        &self,
        request: &RecordedRequest,
        recorded: Option<&RecordedResponse>,
        head: ResponseHead,
        spool: Spool,
        bodies: &BodyStore,
    ) -> Result<RecordedResponse, AttemptError> {
        let _permit = match simple_api::is_simple_api(request, head.status, &head.headers) {
            true => Some(self.normalizations.acquire().await),
            false => None,
        };
        let (request, recorded, bodies) = (request.clone(), recorded.cloned(), bodies.clone());
        tokio::task::spawn_blocking(move || accept(&request, recorded.as_ref(), head, spool, &bodies))
            .await
            .unwrap_or_else(|_| Err(AttemptError::permanent("a task of the egress proxy panicked")))
    }
}

fn headers(endpoint: &Endpoint<'_>, request: &UpstreamRequest) -> Result<HeaderMap, AttemptError> {
    let mut headers = request.extra.clone();
    for (name, value) in &request.request.headers {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        // They were valid headers, but may come from a recording that was edited.
        let (Ok(name), Ok(value)) = pair else {
            return Err(AttemptError::permanent(format!("the recorded header `{name}` is not valid")));
        };
        if name != header::AUTHORIZATION {
            headers.insert(name, value);
        }
    }
    // A credential of the client is for the public host, not for a mirror of it.
    if endpoint.is_mirror {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(value) = endpoint.credential.and_then(Credential::authorization) {
        let mut value = HeaderValue::try_from(value.expose())
            .map_err(|_| AttemptError::permanent("the credential for this host is not a valid header"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    // Bodies are stored as they are received: reqwest must not decode any.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    Ok(headers)
}

/// Rejects responses that must not be recorded, as transient or permanent failures.
fn check_status(endpoint: &Endpoint<'_>, response: &Response) -> Result<(), AttemptError> {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).and_then(RetryAfter::parse);
    match status.as_u16() {
        401 | 403 | 407 if endpoint.credential.is_some() => Err(AttemptError::permanent(format!(
            "the server rejected the credential for this host ({status})"
        ))),
        408 | 425 | 429 | 500..=599 => {
            Err(AttemptError::Transient { reason: format!("the server returned {status}"), retry_after })
        }
        200..=499 => Ok(()),
        _ => Err(AttemptError::transient(format!("the server returned the invalid status {status}"))),
    }
}

async fn receive(response: &mut Response, spool: &mut Spool) -> Result<(), AttemptError> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => spool.write(&chunk)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                return Err(AttemptError::transient(format!(
                    "the body was truncated: {}",
                    error_chain(&error)
                )));
            }
        }
    }
}

/// Normalizes a received response and stores its body, if it equals the `recorded` response, or, if
/// there is none, passes the content check.
fn accept(
    request: &RecordedRequest,
    recorded: Option<&RecordedResponse>,
    head: ResponseHead,
    mut spool: Spool,
    bodies: &BodyStore,
) -> Result<RecordedResponse, AttemptError> {
    let ResponseHead { status, mut headers, has_marked_end, is_presigned } = head;
    // Such a body is empty or contains the presigned URL too.
    if is_presigned && recorded.is_none_or(|response| response.size == 0) {
        spool = bodies.spool()?;
    }
    if pkt_line::has_pack(request) {
        spool = pkt_line::normalize(spool, bodies)?;
    }
    if simple_api::is_simple_api(request, status, &headers) {
        spool = simple_api::normalize(spool, &mut headers, recorded, bodies)?;
    }
    let (body, size) = (spool.digest(), spool.written());
    let response = RecordedResponse { status, headers, body, size };
    let error = match recorded {
        Some(recorded) => mismatch::difference(recorded, &response).map(|reason| {
            let is_changed = has_marked_end && recorded.status == status;
            AttemptError::Mismatch { reason, is_changed }
        }),
        None => objection(request, &response, spool.file()).map(AttemptError::transient),
    };
    if let Some(error) = error {
        return Err(error);
    }
    spool.commit()?;
    Ok(response)
}

/// Whether an error of reqwest is transient.
fn classify(error: &reqwest::Error) -> AttemptError {
    if let Some(PrivateAddress(address)) = find_cause(error) {
        return AttemptError::Permanent(UpstreamError::PrivateAddress(address.clone()));
    }
    if let Some(rustls::Error::InvalidCertificate(cause)) = find_cause(error) {
        return AttemptError::permanent(format!("the server's certificate is not trusted: {cause:?}"));
    }
    AttemptError::transient(error_chain(&WithoutUrl(error)))
}

/// The first cause of this type. An I/O error may contain one without returning it as its source.
fn find_cause<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inner = inner.map(|inner| inner as &(dyn std::error::Error + 'static));
    error.downcast_ref().or_else(|| find_cause(inner.or_else(|| error.source())?))
}

/// An error of reqwest without its URL, which may contain secrets. Messages have the redacted URL.
#[derive(Debug)]
struct WithoutUrl<'a>(&'a reqwest::Error);

impl std::fmt::Display for WithoutUrl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_timeout() {
            "the server timed out"
        } else if self.0.is_connect() {
            "the connection failed"
        } else {
            "no response was received"
        })
    }
}

impl std::error::Error for WithoutUrl<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0)
    }
}
