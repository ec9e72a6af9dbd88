//! What a record keeps of an answer's head.

use std::collections::BTreeMap;

use hyper::header::{self, HeaderName};
use reqwest::Response;

use super::client::{Client, Endpoint};
use super::retry::AttemptError;
use crate::net::{Mirror, PublicUrl};

/// What of an answer's head is worth keeping: what a client acts upon. Not there: whatever is
/// another one each time (dates, identifiers, entity tags, cookies).
const KEPT_HEADERS: [HeaderName; 8] = [
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::LINK,
    header::LOCATION,
    header::VARY,
    header::WWW_AUTHENTICATE,
];
/// Bytes of all these headers together.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// An answer without its body.
pub(super) struct ResponseHead {
    pub status: u16,
    /// Those that are kept, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Whether a body that was cut short would be noticed.
    pub is_end_marked: bool,
    /// Whether it redirects to a signed address, which is kept without its signature.
    pub is_signed: bool,
}

impl Client {
    /// The head of `response`, which came from `place`.
    pub(super) fn head(
        &self,
        place: &Endpoint<'_>,
        response: &Response,
    ) -> Result<ResponseHead, AttemptError> {
        let mut head = ResponseHead {
            status: response.status().as_u16(),
            headers: BTreeMap::new(),
            is_end_marked: is_end_marked(response),
            is_signed: false,
        };
        for name in &KEPT_HEADERS {
            let values = response.headers().get_all(name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            if values.is_empty() {
                continue;
            }
            let mut value = values.join(", ");
            if *name == header::LOCATION {
                let (location, is_signed) = self.location(place, value);
                head.is_signed = is_signed && response.status().is_redirection();
                value = location;
            }
            head.headers.insert(name.as_str().to_owned(), value);
        }
        if head.headers.values().map(String::len).sum::<usize>() > MAX_HEAD_BYTES {
            return Err(AttemptError::lasting("the headers of its answer are larger than 64 KiB"));
        }
        Ok(head)
    }

    /// Where a redirect leads, as a record may say it: not to a mirror, and without a signature.
    /// Whether it has one.
    fn location(&self, place: &Endpoint<'_>, text: String) -> (String, bool) {
        let absolute = place.url.as_url().join(&text).ok();
        let Some(absolute) = absolute.and_then(|url| PublicUrl::new(url).ok()) else { return (text, false) };
        let published = Mirror::publish(&self.upstream.mirrors, &absolute);
        if published != absolute {
            return (published.to_string(), false);
        }
        let plain = self.signed.hide(published);
        let is_signed = plain != absolute;
        // As the server wrote it where there is nothing to hide: it may be relative. Only to a
        // mirror's own pages that means something else.
        (if is_signed || place.is_mirror { plain.to_string() } else { text }, is_signed)
    }
}

/// Whether a body that was cut short would be noticed: not if closing the connection ends it.
fn is_end_marked(response: &Response) -> bool {
    let headers = response.headers();
    response.version() >= hyper::Version::HTTP_2
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
        || matches!(response.status().as_u16(), 204 | 205 | 304)
}
