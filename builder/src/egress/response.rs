//! From a recorded answer to what a client inside gets: ranges, conditions and all.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::recording::Answer;

/// Bytes that are read from a body at once.
const PIECE: u64 = 128 * 1024;

/// What a client gets to read.
pub(super) enum Content {
    /// Text of the door's own.
    Text(Option<Bytes>),
    /// A part of a verified body.
    Part { body: File, left: u64 },
}

impl Content {
    /// Nothing.
    pub fn empty() -> Self {
        Self::Text(None)
    }

    /// This text.
    pub fn text(text: String) -> Self {
        Self::Text(Some(text.into()))
    }

    fn part(mut body: File, start: u64, length: u64) -> io::Result<Self> {
        body.seek(SeekFrom::Start(start))?;
        Ok(Self::Part { body, left: length })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    // The file was read a moment ago to be verified: this read comes out of memory.
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.get_mut() {
            Self::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Self::Part { left: 0, .. } => None,
            Self::Part { body, left } => {
                let mut piece = vec![0; (*left).min(PIECE) as usize];
                Some(body.read_exact(&mut piece).map(|()| {
                    *left -= piece.len() as u64;
                    Frame::data(piece.into())
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
            Self::Part { left, .. } => *left,
        })
    }
}

/// How a client asks for less than the whole.
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

    /// The response: `answer` with `body`, or the part of it that was asked for.
    pub fn apply(&self, answer: &Answer, body: File) -> io::Result<Response<Content>> {
        let mut response = Response::new(Content::empty());
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in &answer.headers {
            // A record may have been edited: what is no header is left out.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        let is_bodiless = matches!(answer.status, 204 | 304);
        if is_bodiless {
            return Ok(response);
        }
        let (mut start, mut length) = (0, answer.size);
        if answer.status == 200 {
            let tag = format!("\"{}\"", answer.body);
            set(&mut response, header::ETAG, &tag);
            set(&mut response, header::ACCEPT_RANGES, "bytes");
            if self.if_none_match.as_ref().is_some_and(|tags| names(tags, &tag)) {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
            match self.range(&tag, answer.size) {
                Range::Whole => {}
                Range::Part { first, last } => {
                    (start, length) = (first, last - first + 1);
                    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                    let range = format!("bytes {first}-{last}/{}", answer.size);
                    set(&mut response, header::CONTENT_RANGE, &range);
                }
                Range::Beyond => {
                    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                    set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", answer.size));
                    length = 0;
                }
            }
        }
        set(&mut response, header::CONTENT_LENGTH, &length.to_string());
        if !self.is_head {
            *response.body_mut() = Content::part(body, start, length)?;
        }
        Ok(response)
    }

    /// One range is answered; several at once get the whole, as a server may do.
    fn range(&self, tag: &str, size: u64) -> Range {
        if self.if_range.as_ref().is_some_and(|asked| asked != tag) {
            return Range::Whole;
        }
        let Some((first, last)) =
            self.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        else {
            return Range::Whole;
        };
        match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
            (Ok(first), _) if first >= size => Range::Beyond,
            (Ok(first), Ok(last)) if last >= first => Range::Part { first, last: last.min(size - 1) },
            (Ok(first), Err(_)) if last.trim().is_empty() => Range::Part { first, last: size - 1 },
            (Err(_), Ok(suffix)) if first.trim().is_empty() => match suffix.min(size) {
                0 => Range::Beyond,
                length => Range::Part { first: size - length, last: size - 1 },
            },
            _ => Range::Whole,
        }
    }
}

enum Range {
    Whole,
    Part { first: u64, last: u64 },
    Beyond,
}

fn names(tags: &HeaderValue, tag: &str) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
}

fn set(response: &mut Response<Content>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
