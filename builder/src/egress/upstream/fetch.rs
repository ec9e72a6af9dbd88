//! One answer from outside: asked for until it is whole, or given up.

use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::Response;

use super::super::body_store::{BodyStore, BodyStoreError, Spool};
use super::super::recording::{Answer, Method, Request};
use super::address_filter::PrivateAddress;
use super::client::{Client, Endpoint};
use super::content_check::objection;
use super::partial::PartialBody;
use super::recheck::{Recheck, is_second_best};
use super::response_head::ResponseHead;
use super::retry::{AttemptError, Attempts};
use super::{mismatch, pkt_line, simple_api};
use crate::error_chain::error_chain;
use crate::net::Credential;
use crate::net::retry::RetryAfter;

/// A request, with what is sent besides what decides its answer.
pub(in super::super) struct UpstreamRequest {
    /// What decides its answer.
    pub request: Request,
    /// `User-Agent` and the like.
    pub extra: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
pub(in super::super) enum NoResponse {
    /// It would be a private address.
    Private(String),
    /// All tries failed, or one that made further ones useless. Not redacted.
    Failed(String),
    /// The server has another body now than the one that was recorded, try after try. Not redacted.
    Moved(String),
    /// The store could not keep it.
    Store(BodyStoreError),
}

impl Client {
    /// The answer to `question`, its body whole in `bodies`. With one that was `recorded`, only an
    /// answer with that status and body: replicas may differ for a moment, so another one is a
    /// failure that may pass. `again` hears of each failure that is followed by a further try.
    pub async fn fetch(
        &self,
        question: &UpstreamRequest,
        recorded: Option<&Answer>,
        bodies: &BodyStore,
        again: &(dyn Fn(String) + Sync),
    ) -> Result<Answer, NoResponse> {
        let private = |PrivateAddress(address)| NoResponse::Private(address);
        let place = self.place(&question.request.url).map_err(private)?;
        let mut partial = PartialBody::default();
        let mut doubt = Recheck::default();
        let mut tries = Attempts::new(self.upstream.retry_policy);
        loop {
            let attempt_error = match self.attempt(&place, question, recorded, bodies, &mut partial).await {
                Ok((answer, is_whole)) => {
                    let is_second_best = recorded.is_none() && is_second_best(&question.request, &answer);
                    match doubt.believes(&answer, is_whole, is_second_best) {
                        Ok(true) => return Ok(answer),
                        Ok(false) => continue,
                        Err(attempt_error) => attempt_error,
                    }
                }
                Err(attempt_error) => attempt_error,
            };
            let (message, pause) = tries.after(attempt_error)?;
            again(message);
            tokio::time::sleep(pause).await;
        }
    }

    /// One request. The flag says whether the body is known to be whole: its end was marked, or
    /// it is the one that was recorded.
    async fn attempt(
        &self,
        place: &Endpoint<'_>,
        question: &UpstreamRequest,
        recorded: Option<&Answer>,
        bodies: &BodyStore,
        partial: &mut PartialBody,
    ) -> Result<(Answer, bool), AttemptError> {
        let mut request = match question.request.method {
            Method::Get => place.client.get(place.url.as_url().clone()),
            Method::Post => place.client.post(place.url.as_url().clone()).body(question.body.clone()),
        };
        request = request.headers(headers(place, question)?).headers(partial.headers());
        let mut response = request.send().await.map_err(|error| sorted(&error))?;
        let status = response.status().as_u16();
        check_status(place, &response)?;
        let (mut spool, status) = match partial.resume(&response)? {
            Some(spool) => (spool, 200),
            None => (bodies.spool()?, status),
        };
        let head = ResponseHead { status, ..self.head(place, &response)? };
        let is_whole = head.is_end_marked || recorded.is_some();
        match receive(&mut response, &mut spool).await {
            Ok(()) => {}
            Err(attempt_error) => {
                partial.keep(spool, &response);
                return Err(attempt_error);
            }
        }
        Ok((self.accept(&question.request, recorded, head, spool, bodies).await?, is_whole))
    }

    /// Keeps what came, aside from the threads that serve: it may take long.
    async fn accept(
        &self,
        request: &Request,
        recorded: Option<&Answer>,
        head: ResponseHead,
        spool: Spool,
        bodies: &BodyStore,
    ) -> Result<Answer, AttemptError> {
        // One at a time: each is held in memory many times over.
        let _turn = match simple_api::is_one(request, head.status, &head.headers) {
            true => Some(self.pages.acquire().await),
            false => None,
        };
        let (request, recorded, bodies) = (request.clone(), recorded.cloned(), bodies.clone());
        tokio::task::spawn_blocking(move || accept(&request, recorded.as_ref(), head, spool, &bodies))
            .await
            .unwrap_or_else(|_| Err(AttemptError::lasting("the door's own task failed")))
    }
}

fn headers(place: &Endpoint<'_>, question: &UpstreamRequest) -> Result<HeaderMap, AttemptError> {
    let mut headers = question.extra.clone();
    for (name, value) in &question.request.headers {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        // They came as headers, or from a record: an edited one may have anything.
        let (Ok(name), Ok(value)) = pair else {
            return Err(AttemptError::lasting(format!("its header `{name}` cannot be sent")));
        };
        if name != header::AUTHORIZATION {
            headers.insert(name, value);
        }
    }
    // A credential from inside is for the host that was asked, not for somebody's mirror of it.
    if place.is_mirror {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(value) = place.credential.and_then(Credential::authorization) {
        let mut value = HeaderValue::try_from(value.expose())
            .map_err(|_| AttemptError::lasting("the credential for this host cannot be sent as a header"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    // What is kept is what was sent: nothing is unpacked on the way.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    Ok(headers)
}

/// Sorts what is no answer to be recorded into what passes and what does not.
fn check_status(place: &Endpoint<'_>, response: &Response) -> Result<(), AttemptError> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()).and_then(RetryAfter::parse);
    match status.as_u16() {
        401 | 403 | 407 if place.credential.is_some() => Err(AttemptError::lasting(format!(
            "it answers {status}: it refuses the credential for this host"
        ))),
        408 | 425 | 429 | 500..=599 => {
            Err(AttemptError::Passing { reason: format!("it answers {status}"), after })
        }
        200..=499 => Ok(()),
        _ => Err(AttemptError::passing(format!("it answers {status}, which is no status of HTTP"))),
    }
}

async fn receive(response: &mut Response, spool: &mut Spool) -> Result<(), AttemptError> {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => spool.write(&chunk)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                return Err(AttemptError::passing(format!("it broke off: {}", error_chain(&error))));
            }
        }
    }
}

/// Puts what came into the form that is recorded, and keeps it if it is what it should be: the
/// answer that was `recorded`, else one that is plausible.
fn accept(
    request: &Request,
    recorded: Option<&Answer>,
    head: ResponseHead,
    mut spool: Spool,
    bodies: &BodyStore,
) -> Result<Answer, AttemptError> {
    let ResponseHead { status, mut headers, is_end_marked, is_signed } = head;
    // Such a body says the address too, or nothing.
    if is_signed && recorded.is_none_or(|answer| answer.size == 0) {
        spool = bodies.spool()?;
    }
    if pkt_line::is_fetch(request) {
        spool = pkt_line::settle(spool, bodies)?;
    }
    if simple_api::is_one(request, status, &headers) {
        spool = simple_api::settle(spool, &mut headers, recorded, bodies)?;
    }
    let (body, size) = (spool.digest(), spool.written());
    let answer = Answer { status, headers, body, size };
    let attempt_error = match recorded {
        Some(recorded) => mismatch::difference(recorded, &answer).map(|reason| {
            let is_moved = is_end_marked && recorded.status == status;
            AttemptError::Another { reason, is_moved }
        }),
        None => objection(request, &answer, spool.file()).map(AttemptError::passing),
    };
    if let Some(attempt_error) = attempt_error {
        return Err(attempt_error);
    }
    spool.keep()?;
    Ok(answer)
}

fn sorted(error: &reqwest::Error) -> AttemptError {
    if let Some(PrivateAddress(address)) = find(error) {
        return AttemptError::Lasting(NoResponse::Private(address.clone()));
    }
    if let Some(rustls::Error::InvalidCertificate(why)) = find(error) {
        return AttemptError::lasting(format!("its certificate cannot be trusted: {why:?}"));
    }
    // The address is said by whoever shows this, without what may be secret in it.
    AttemptError::passing(error_chain(&WithoutUrl(error)))
}

/// The first cause of this type. An I/O error may hold one without naming it as its cause.
fn find<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let held = held.map(|held| held as &(dyn std::error::Error + 'static));
    error.downcast_ref().or_else(|| find(held.or_else(|| error.source())?))
}

/// reqwest's errors begin with the whole address.
#[derive(Debug)]
struct WithoutUrl<'a>(&'a reqwest::Error);

impl std::fmt::Display for WithoutUrl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_timeout() {
            "it does not answer in time"
        } else if self.0.is_connect() {
            "it cannot be reached"
        } else {
            "it does not answer"
        })
    }
}

impl std::error::Error for WithoutUrl<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0)
    }
}
