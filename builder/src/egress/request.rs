//! Turns a client's HTTP request into the form that is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use carafe_layers::digest::Digest;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::blocked::BlockReason;
use super::recording::{Method, RecordedRequest};
use super::upstream::UpstreamRequest;
use crate::net::PublicUrl;

/// Maximum size of a request's body.
const MAX_REQUEST_BODY_BYTES: usize = 16 << 20;
/// Maximum size of all bodies in memory; further clients wait.
const MAX_BODY_MEMORY_BYTES: usize = 8 * MAX_REQUEST_BODY_BYTES;

/// The headers that may determine the response. Upstream servers receive these, `User-Agent`, a
/// credential, and nothing else: a header that is not recorded cannot have determined the response.
const RECORDED_HEADERS: [HeaderName; 4] =
    [header::ACCEPT, header::CONTENT_ENCODING, header::CONTENT_TYPE, HeaderName::from_static("git-protocol")];
/// The recorded value of `Authorization`, in place of the client's credential.
const PRESENT: &str = "present";

/// Limits the memory for request bodies: a hostile build may send any number, and abandon each.
pub(super) struct MemoryBudget(Arc<Semaphore>);

impl MemoryBudget {
    /// Bytes of a permit: a semaphore has fewer permits than the budget has bytes.
    const BYTES_PER_PERMIT: usize = 1024;

    /// A budget of [`MAX_BODY_MEMORY_BYTES`] bytes.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODY_MEMORY_BYTES / Self::BYTES_PER_PERMIT)))
    }

    /// Waits until a body of this size fits into the budget, and reserves it while the permit lives.
    /// `None` for a body that is known to be empty.
    pub async fn reserve(&self, body: SizeHint) -> Option<OwnedSemaphorePermit> {
        let max_bytes = body.upper().unwrap_or(u64::MAX).min(MAX_REQUEST_BODY_BYTES as u64);
        let permits = (max_bytes as usize).div_ceil(Self::BYTES_PER_PERMIT) as u32;
        // The semaphore is never closed.
        if permits == 0 { None } else { Arc::clone(&self.0).acquire_many_owned(permits).await.ok() }
    }
}

/// Receives a request for `url` completely.
pub(super) async fn read<B>(
    url: PublicUrl,
    request: hyper::Request<B>,
) -> Result<UpstreamRequest, BlockReason>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let method = match *request.method() {
        hyper::Method::GET | hyper::Method::HEAD => Method::Get,
        hyper::Method::POST => Method::Post,
        _ => return Err(BlockReason::Method),
    };
    // A build fetches from git hosts and never pushes.
    if url.as_url().path().ends_with("/git-receive-pack") {
        return Err(BlockReason::Method);
    }
    let (head, body) = request.into_parts();
    let collected = Limited::new(body, MAX_REQUEST_BODY_BYTES).collect().await.map_err(|error| {
        let reason = match error.downcast_ref::<LengthLimitError>() {
            Some(_) => "its body is larger than 16 MiB",
            None => "its body was truncated",
        };
        malformed(reason)
    })?;
    let body = collected.to_bytes();
    if method == Method::Get && !body.is_empty() {
        return Err(malformed("a GET has no body"));
    }
    let headers = recorded_headers(&head.headers, method)?;
    let digest = (!body.is_empty()).then(|| Digest::of(&body));
    let extra = [header::USER_AGENT, header::AUTHORIZATION].into_iter();
    let extra = extra.filter_map(|name| Some((name.clone(), sensitive(head.headers.get(&name)?)))).collect();
    Ok(UpstreamRequest { request: RecordedRequest { url, method, headers, body: digest }, extra, body })
}

fn recorded_headers(headers: &HeaderMap, method: Method) -> Result<BTreeMap<String, String>, BlockReason> {
    let mut recorded = BTreeMap::new();
    for name in &RECORDED_HEADERS {
        let describes_body = *name == header::CONTENT_ENCODING || *name == header::CONTENT_TYPE;
        if describes_body && method == Method::Get {
            continue;
        }
        let values = headers.get_all(name).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
        let value = values.map_err(|_| malformed("a header is not text"))?.join(", ");
        let has_no_effect = value.is_empty() || (*name == header::ACCEPT && value == "*/*");
        if !has_no_effect {
            recorded.insert(name.as_str().to_owned(), value);
        }
    }
    if headers.contains_key(header::AUTHORIZATION) {
        recorded.insert(header::AUTHORIZATION.as_str().to_owned(), PRESENT.to_owned());
    }
    Ok(recorded)
}

/// The value, marked so that no debug output shows it.
fn sensitive(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

fn malformed(reason: &str) -> BlockReason {
    BlockReason::Malformed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_unknown_size_reserves_the_maximum() {
        let budget = MemoryBudget::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reserve = |size| runtime.block_on(budget.reserve(size));
        let free = || budget.0.available_permits() * MemoryBudget::BYTES_PER_PERMIT;
        assert!(reserve(SizeHint::with_exact(0)).is_none());
        let small = reserve(SizeHint::with_exact(4));
        assert_eq!(free(), MAX_BODY_MEMORY_BYTES - MemoryBudget::BYTES_PER_PERMIT);
        drop(small);
        // Without a length, the body may have any.
        let mut reserved = Vec::new();
        while free() > 0 {
            reserved.push(reserve(SizeHint::default()).unwrap());
        }
        assert_eq!(reserved.len(), MAX_BODY_MEMORY_BYTES / MAX_REQUEST_BODY_BYTES);
        reserved.pop();
        assert_eq!(free(), MAX_REQUEST_BODY_BYTES);
    }
}
