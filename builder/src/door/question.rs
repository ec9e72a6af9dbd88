//! From what a client inside sent to what is asked: the request as a record knows it.

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::public_url::PublicUrl;
use super::record::{Method, Request};
use super::refusal::Reason;
use super::upstream::Question;

/// Bytes of the largest body that a client may send.
const LARGEST_QUESTION: usize = 16 << 20;

/// The headers that select what is sent. The outside is sent these, `User-Agent`, a credential,
/// and nothing else: what is not in the record cannot have decided an answer.
const SELECTING: [HeaderName; 4] =
    [header::ACCEPT, header::CONTENT_ENCODING, header::CONTENT_TYPE, HeaderName::from_static("git-protocol")];
/// In place of a credential that a client inside sent itself.
const PRESENT: &str = "present";

/// Reads a request for `url` to its end.
pub(super) async fn read<B>(url: PublicUrl, request: hyper::Request<B>) -> Result<Question, Reason>
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
    let collected = Limited::new(body, LARGEST_QUESTION).collect().await.map_err(|error| {
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
    Ok(Question { request: Request { url, method, headers, body: digest }, extra, body })
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
