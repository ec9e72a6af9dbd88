//! Turns a recorded response into the HTTP response that a client gets, with ranges and conditions.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::recording::RecordedResponse;

/// Bytes that are read from a body at a time.
const READ_BYTES: u64 = 128 * 1024;

/// The body of a response to a client.
pub(super) enum ResponseBody {
    /// A text of the egress proxy.
    Text(Option<Bytes>),
    /// A part of a verified body: the next `remaining` bytes.
    Part { body: File, remaining: u64 },
}

impl ResponseBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Text(None)
    }

    /// This text.
    pub fn text(text: String) -> Self {
        Self::Text(Some(text.into()))
    }

    fn part(mut body: File, start: u64, length: u64) -> io::Result<Self> {
        body.seek(SeekFrom::Start(start))?;
        Ok(Self::Part { body, remaining: length })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    // Blocking reads: the file was just read for verification and is in the page cache.
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.get_mut() {
            Self::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Self::Part { remaining: 0, .. } => None,
            Self::Part { body, remaining } => {
                let mut chunk = vec![0; (*remaining).min(READ_BYTES) as usize];
                Some(body.read_exact(&mut chunk).map(|()| {
                    *remaining -= chunk.len() as u64;
                    Frame::data(chunk.into())
                }))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Self::Part { remaining, .. } => *remaining,
        })
    }
}

/// The conditions and the range of a request.
pub(super) struct Conditions {
    is_head: bool,
    if_none_match: Option<HeaderValue>,
    range: Option<String>,
    if_range: Option<HeaderValue>,
}

impl Conditions {
    /// Of a request.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        Self {
            is_head: method == Method::HEAD,
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            range: headers.get(header::RANGE).filter(|_| method == Method::GET).and_then(text),
            if_range: headers.get(header::IF_RANGE).cloned(),
        }
    }

    /// The HTTP response: all of `recorded` with `body`, or the requested part.
    pub fn apply(&self, recorded: &RecordedResponse, body: File) -> io::Result<Response<ResponseBody>> {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::from_u16(recorded.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in &recorded.headers {
            // A recording may have been edited: invalid headers are left out.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        let is_bodiless = matches!(recorded.status, 204 | 304);
        if is_bodiless {
            return Ok(response);
        }
        let (mut start, mut length) = (0, recorded.size);
        if recorded.status == 200 {
            let tag = format!("\"{}\"", recorded.body);
            set(&mut response, header::ETAG, &tag);
            set(&mut response, header::ACCEPT_RANGES, "bytes");
            if self.if_none_match.as_ref().is_some_and(|tags| matches_tag(tags, &tag)) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
            match self.range(&tag, recorded.size) {
                Range::All => {}
                Range::Part { first, last } => {
                    (start, length) = (first, last - first + 1);
                    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                    let range = format!("bytes {first}-{last}/{}", recorded.size);
                    set(&mut response, header::CONTENT_RANGE, &range);
                }
                Range::Unsatisfiable => {
                    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                    set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", recorded.size));
                    length = 0;
                }
            }
        }
        set(&mut response, header::CONTENT_LENGTH, &length.to_string());
        if !self.is_head {
            *response.body_mut() = ResponseBody::part(body, start, length)?;
        }
        Ok(response)
    }

    /// A single range. For several at once the complete body is sent, as RFC 9110 permits.
    fn range(&self, tag: &str, size: u64) -> Range {
        if self.if_range.as_ref().is_some_and(|expected| expected != tag) {
            return Range::All;
        }
        let Some((first, last)) =
            self.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        else {
            return Range::All;
        };
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), _) if first >= size => Range::Unsatisfiable,
            (Ok(first), Ok(last)) if last >= first => Range::Part { first, last: last.min(size - 1) },
            (Ok(first), Err(_)) if last.trim().is_empty() => Range::Part { first, last: size - 1 },
            (Err(_), Ok(suffix)) if first.trim().is_empty() => match suffix.min(size) {
                0 => Range::Unsatisfiable,
                length => Range::Part { first: size - length, last: size - 1 },
            },
            _ => Range::All,
        }
    }
}

enum Range {
    All,
    Part { first: u64, last: u64 },
    Unsatisfiable,
}

fn matches_tag(tags: &HeaderValue, tag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
}

fn set(response: &mut Response<ResponseBody>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
