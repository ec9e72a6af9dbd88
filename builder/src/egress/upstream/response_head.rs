//! The status and headers of a response, as they are recorded.

use std::collections::BTreeMap;

use hyper::header::{self, HeaderName};
use reqwest::Response;

use super::client::{Client, Endpoint};
use super::error::AttemptError;
use crate::net::{Mirror, PublicUrl};

/// The recorded headers: those that clients use. Not among them: those that differ each time (dates,
/// identifiers, entity tags, cookies).
const RECORDED_HEADERS: [HeaderName; 8] = [
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::LINK,
    header::LOCATION,
    header::VARY,
    header::WWW_AUTHENTICATE,
];
/// Maximum size of all recorded headers together.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A response without its body.
pub(super) struct ResponseHead {
    pub status: u16,
    /// The recorded headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Whether a truncated body would be detected.
    pub has_marked_end: bool,
    /// Whether it redirects to a presigned URL, which is recorded without its signature.
    pub is_presigned: bool,
}

impl Client {
    /// The head of `response`, which came from `endpoint`.
    pub(super) fn head(
        &self,
        endpoint: &Endpoint<'_>,
        response: &Response,
    ) -> Result<ResponseHead, AttemptError> {
        let mut head = ResponseHead {
            status: response.status().as_u16(),
            headers: BTreeMap::new(),
            has_marked_end: has_marked_end(response),
            is_presigned: false,
        };
        for name in &RECORDED_HEADERS {
            let values = response.headers().get_all(name).iter();
            let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
            if values.is_empty() {
                continue;
            }
            let mut value = values.join(", ");
            if *name == header::LOCATION {
                let (location, is_presigned) = self.location(endpoint, value);
                head.is_presigned = is_presigned && response.status().is_redirection();
                value = location;
            }
            head.headers.insert(name.as_str().to_owned(), value);
        }
        if head.headers.values().map(String::len).sum::<usize>() > MAX_HEAD_BYTES {
            return Err(AttemptError::permanent("the headers of the response are larger than 64 KiB"));
        }
        Ok(head)
    }

    /// The target of a redirect in its recorded form: not a mirror's, and without a signature. The
    /// flag tells whether it had one.
    fn location(&self, endpoint: &Endpoint<'_>, text: String) -> (String, bool) {
        let absolute = endpoint.url.as_url().join(&text).ok();
        let Some(absolute) = absolute.and_then(|url| PublicUrl::new(url).ok()) else { return (text, false) };
        let published = Mirror::publish(&self.upstream.mirrors, &absolute);
        if published != absolute {
            return (published.to_string(), false);
        }
        let plain = self.presigned.strip(published);
        let is_presigned = plain != absolute;
        // Otherwise as the server sent it, which may be relative. Relative to a mirror's URL it would
        // have another meaning, so that becomes absolute.
        (if is_presigned || endpoint.is_mirror { plain.to_string() } else { text }, is_presigned)
    }
}

/// Whether a truncated body would be detected: not if the end of the connection ends the body.
fn has_marked_end(response: &Response) -> bool {
    let headers = response.headers();
    response.version() >= hyper::Version::HTTP_2
        || headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING)
        || matches!(response.status().as_u16(), 204 | 205 | 304)
}
