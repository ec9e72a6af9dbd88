//! From what a client inside sent to what is asked: the request as a record knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use carafe_layers::digest::Digest;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::blocked::Reason;
use super::recording::{Method, Request};
use super::upstream::UpstreamRequest;
use crate::net::PublicUrl;

/// Bytes of the largest body that a client may send.
const MAX_REQUEST_BODY_BYTES: usize = 16 << 20;
/// Bytes of bodies that are held at once; further clients wait.
const MAX_BODY_MEMORY_BYTES: usize = 8 * MAX_REQUEST_BODY_BYTES;

/// The headers that select what is sent. The outside is sent these, `User-Agent`, a credential,
/// and nothing else: what is not in the record cannot have decided an answer.
const SELECTING: [HeaderName; 4] =
    [header::ACCEPT, header::CONTENT_ENCODING, header::CONTENT_TYPE, HeaderName::from_static("git-protocol")];
/// In place of a credential that a client inside sent itself.
const PRESENT: &str = "present";

/// BodyMemory for what clients send: a hostile build may ask without end, and go away each time.
pub(super) struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// What a permit stands for. A semaphore counts to less than bytes need.
    const UNIT: usize = 1024;

    /// Enough for [`MAX_BODY_MEMORY_BYTES`] bytes.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODY_MEMORY_BYTES / Self::UNIT)))
    }

    /// Waits until there is room for a body of this size, and keeps it while the guard lives: as
    /// long as the body may be held. Nothing for one that is known to be empty.
    pub async fn hold(&self, body: SizeHint) -> Option<OwnedSemaphorePermit> {
        let most = body.upper().unwrap_or(u64::MAX).min(MAX_REQUEST_BODY_BYTES as u64);
        let units = (most as usize).div_ceil(Self::UNIT) as u32;
        // It is never closed.
        if units == 0 { None } else { Arc::clone(&self.0).acquire_many_owned(units).await.ok() }
    }
}

/// Reads a request for `url` to its end.
pub(super) async fn read<B>(url: PublicUrl, request: hyper::Request<B>) -> Result<UpstreamRequest, Reason>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let method = match *request.method() {
        hyper::Method::GET | hyper::Method::HEAD => Method::Get,
        hyper::Method::POST => Method::Post,
        _ => return Err(Reason::Method),
    };
    // A build fetches from git hosts; nothing in it has a reason to push.
    if url.as_url().path().ends_with("/git-receive-pack") {
        return Err(Reason::Method);
    }
    let (head, body) = request.into_parts();
    let collected = Limited::new(body, MAX_REQUEST_BODY_BYTES).collect().await.map_err(|error| {
        let reason = match error.downcast_ref::<LengthLimitError>() {
            Some(_) => "its body is larger than 16 MiB",
            None => "its body broke off",
        };
        malformed(reason)
    })?;
    let body = collected.to_bytes();
    if method == Method::Get && !body.is_empty() {
        return Err(malformed("a GET has no body"));
    }
    let headers = selecting(&head.headers, method)?;
    let digest = (!body.is_empty()).then(|| Digest::of(&body));
    let extra = [header::USER_AGENT, header::AUTHORIZATION].into_iter();
    let extra = extra.filter_map(|name| Some((name.clone(), sensitive(head.headers.get(&name)?)))).collect();
    Ok(UpstreamRequest { request: Request { url, method, headers, body: digest }, extra, body })
}

fn selecting(headers: &HeaderMap, method: Method) -> Result<BTreeMap<String, String>, Reason> {
    let mut selecting = BTreeMap::new();
    for name in &SELECTING {
        let is_of_body = *name == header::CONTENT_ENCODING || *name == header::CONTENT_TYPE;
        if is_of_body && method == Method::Get {
            continue;
        }
        let values = headers.get_all(name).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
        let value = values.map_err(|_| malformed("one of its headers is no text"))?.join(", ");
        let selects_nothing = value.is_empty() || (*name == header::ACCEPT && value == "*/*");
        if !selects_nothing {
            selecting.insert(name.as_str().to_owned(), value);
        }
    }
    if headers.contains_key(header::AUTHORIZATION) {
        selecting.insert(header::AUTHORIZATION.as_str().to_owned(), PRESENT.to_owned());
    }
    Ok(selecting)
}

/// Not shown by any debug output.
fn sensitive(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

fn malformed(reason: &str) -> Reason {
    Reason::Malformed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_large_takes_room_until_it_is_let_go() {
        let room = BodyMemory::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hold = |size| runtime.block_on(room.hold(size));
        let free = || room.0.available_permits() * BodyMemory::UNIT;
        assert!(hold(SizeHint::with_exact(0)).is_none());
        let small = hold(SizeHint::with_exact(4));
        assert_eq!(free(), MAX_BODY_MEMORY_BYTES - BodyMemory::UNIT);
        drop(small);
        // A length that is not said may be any.
        let mut held = Vec::new();
        while free() > 0 {
            held.push(hold(SizeHint::default()).unwrap());
        }
        assert_eq!(held.len(), MAX_BODY_MEMORY_BYTES / MAX_REQUEST_BODY_BYTES);
        held.pop();
        assert_eq!(free(), MAX_REQUEST_BODY_BYTES);
    }
}
