//! Resumes the transfer of a truncated body, where it is large and certain to be the same body.

use hyper::header::{self, HeaderMap, HeaderValue};
use reqwest::Response;

use super::error::AttemptError;
use crate::egress::body_store::Spool;

/// Minimum length to resume. Shorter bodies are requested from the start.
const MIN_RESUME_BYTES: u64 = 4 << 20;

/// The received part of a body, and the body's strong entity tag.
#[derive(Default)]
pub(super) struct PartialBody(Option<(Spool, HeaderValue)>);

impl PartialBody {
    /// Keeps the received part, if the rest of the same body can be requested: a strong entity tag
    /// identifies it.
    pub fn keep(&mut self, spool: Spool, response: &Response) {
        let tag = response.headers().get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let is_plain = !response.headers().contains_key(header::CONTENT_ENCODING);
        self.0 =
            tag.filter(|_| is_plain && spool.written() >= MIN_RESUME_BYTES).map(|tag| (spool, tag.clone()));
    }

    /// The headers that request the rest.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some((spool, tag)) = &self.0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", spool.written()))
        {
            headers.insert(header::RANGE, range);
            headers.insert(header::IF_RANGE, tag.clone());
        }
        headers
    }

    /// The part to append to, if `response` has the rest; `None` if it has the complete body. The
    /// kept part is consumed.
    pub fn resume(&mut self, response: &Response) -> Result<Option<Spool>, AttemptError> {
        let kept = self.0.take();
        match response.status().as_u16() {
            206 => {}
            416 if kept.is_some() => {
                return Err(AttemptError::transient(
                    "the server does not have the rest of the truncated body (416)",
                ));
            }
            _ => return Ok(None),
        }
        let Some((spool, tag)) = kept else {
            return Err(AttemptError::transient("the server returned 206 to a request without a range"));
        };
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let rest = range.and_then(|range| length_of_rest(range, spool.written()));
        let is_same = response.headers().get(header::ETAG).is_none_or(|other| *other == tag);
        match rest == response.content_length() && rest.is_some() && is_same {
            true => Ok(Some(spool)),
            false => {
                Err(AttemptError::transient("the server returned a different range than the requested one"))
            }
        }
    }
}

/// The length of the range in a `Content-Range`, if it starts at `start` and ends with the body.
fn length_of_rest(range: &str, start: u64) -> Option<u64> {
    let (bounds, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first == start && last.checked_add(1)? == total).then(|| total - start)
}

#[cfg(test)]
mod tests {
    use super::length_of_rest;

    #[test]
    fn resumes_only_with_the_exact_rest() {
        assert_eq!(length_of_rest("bytes 4-9/10", 4), Some(6));
        for range in [
            "bytes 3-9/10",
            "bytes 4-8/10",
            "bytes 4-9/*",
            "bytes */10",
            "4-9/10",
            "bytes 4-18446744073709551615/0",
        ] {
            assert_eq!(length_of_rest(range, 4), None, "{range}");
        }
    }
}
