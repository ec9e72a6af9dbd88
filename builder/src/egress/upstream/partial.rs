//! A body that broke off: gone on with where it is large, and sure to be the same one.

use hyper::header::{self, HeaderMap, HeaderValue};
use reqwest::Response;

use super::super::body_store::Spool;
use super::retry::AttemptError;

/// Less than this is asked for from its start.
const WORTH_KEEPING: u64 = 4 << 20;

/// What there is of a body, and how its server names it.
#[derive(Default)]
pub(super) struct PartialBody(Option<(Spool, HeaderValue)>);

impl PartialBody {
    /// Keeps what came, if the server can be asked for the rest of the very same body: it is
    /// named by a strong entity tag.
    pub fn keep(&mut self, spool: Spool, response: &Response) {
        let tag = response.headers().get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let is_plain = !response.headers().contains_key(header::CONTENT_ENCODING);
        self.0 = tag.filter(|_| is_plain && spool.written() >= WORTH_KEEPING).map(|tag| (spool, tag.clone()));
    }

    /// Asks for the rest.
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

    /// What to go on with, if `response` is the rest; nothing if it is the whole. Takes what was
    /// kept.
    pub fn resume(&mut self, response: &Response) -> Result<Option<Spool>, AttemptError> {
        let kept = self.0.take();
        match response.status().as_u16() {
            206 => {}
            416 if kept.is_some() => return Err(AttemptError::passing("it has no rest of what broke off")),
            _ => return Ok(None),
        }
        let Some((spool, tag)) = kept else {
            return Err(AttemptError::passing("it answers 206, but was asked for all of it"));
        };
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let is_rest = range.and_then(|range| rest(range, spool.written()));
        let is_same = response.headers().get(header::ETAG).is_none_or(|other| *other == tag);
        match is_rest == response.content_length() && is_rest.is_some() && is_same {
            true => Ok(Some(spool)),
            false => Err(AttemptError::passing("it sends another part than the one it was asked for")),
        }
    }
}

/// The length of the part that a `Content-Range` says, if it goes from `start` to the end.
fn rest(range: &str, start: u64) -> Option<u64> {
    let (bounds, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bounds.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first == start && last.checked_add(1)? == total).then(|| total - start)
}

#[cfg(test)]
mod tests {
    use super::rest;

    #[test]
    fn only_the_rest_is_gone_on_with() {
        assert_eq!(rest("bytes 4-9/10", 4), Some(6));
        for range in [
            "bytes 3-9/10",
            "bytes 4-8/10",
            "bytes 4-9/*",
            "bytes */10",
            "4-9/10",
            "bytes 4-18446744073709551615/0",
        ] {
            assert_eq!(rest(range, 4), None, "{range}");
        }
    }
}
