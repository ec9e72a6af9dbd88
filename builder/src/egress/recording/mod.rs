//! The recording: the requests of a build and their responses.
//!
//! `exchange` has one request and its response; this file has all of them, and the file format.

mod exchange;

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::net::PublicUrl;

pub use exchange::{Exchange, Method, RecordedRequest, RecordedResponse};

/// Maximum size of a recording.
pub const MAX_RECORDING_BYTES: usize = 64 << 20;
/// Maximum number of responses in a recording.
pub const MAX_EXCHANGES: usize = 100_000;
/// The version of the file format that is written and read.
const VERSION: u32 = 1;

/// Why a file is not a valid recording.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RecordingError {
    /// It exceeds a limit.
    #[error("failed to read the recording: it has {found} {unit}, the limit is {limit}")]
    #[diagnostic(help(
        "the limit protects against hostile input; if the recording is legitimate, report this"
    ))]
    Limit {
        /// The number.
        found: usize,
        /// The maximum.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// It was written by a newer version of Carafe.
    #[error("failed to read the recording: it has version {found}, the supported version is 1")]
    #[diagnostic(help(
        "use the version of carafe that wrote it, or record again with `carafe build --update`"
    ))]
    Version {
        /// Its version.
        found: u32,
    },
    /// A line is not valid.
    #[error("failed to read line {line} of the recording: {reason}")]
    #[diagnostic(help(
        "a recording must not be edited; restore the file from version control, or record again with \
         `carafe build --update`"
    ))]
    Line {
        /// The line number, from 1.
        line: usize,
        /// The cause.
        reason: String,
    },
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "carafe-record")]
    version: u32,
}

/// The responses of a build, by request. Equal recordings have equal bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Recording {
    responses: BTreeMap<RecordedRequest, RecordedResponse>,
}

impl Recording {
    /// The response to `request`.
    pub fn get(&self, request: &RecordedRequest) -> Option<&RecordedResponse> {
        self.responses.get(request)
    }

    /// The responses of all requests for `url`.
    pub fn responses_of(&self, url: &PublicUrl) -> impl Iterator<Item = &RecordedResponse> {
        let first =
            RecordedRequest { url: url.clone(), method: Method::Get, headers: BTreeMap::new(), body: None };
        let from = self.responses.range(first..);
        from.take_while(move |(request, _)| request.url == *url).map(|(_, response)| response)
    }

    /// Adds a response, and returns the one that it replaces.
    pub fn insert(
        &mut self,
        request: RecordedRequest,
        response: RecordedResponse,
    ) -> Option<RecordedResponse> {
        self.responses.insert(request, response)
    }

    /// All requests with their responses, in the order of the file: by URL, method, headers, body.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&RecordedRequest, &RecordedResponse)> {
        self.responses.iter()
    }

    /// Whether it has no request.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    /// The bodies of its responses, each once, with their sizes in bytes.
    pub fn bodies(&self) -> BTreeMap<Digest, u64> {
        self.responses.values().map(|response| (response.body, response.size)).collect()
    }

    /// The file: lines of JSON, one for the version and one for each exchange.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = line(&Header { version: VERSION });
        for (request, response) in &self.responses {
            text.extend(line(&Exchange { request: request.clone(), response: response.clone() }));
        }
        text
    }

    /// The digest of [`to_bytes`](Self::to_bytes), which the lock has.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Parses the exact output of [`to_bytes`](Self::to_bytes). Any other order or formatting of the
    /// same data is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordingError> {
        if bytes.len() > MAX_RECORDING_BYTES {
            return Err(RecordingError::Limit {
                found: bytes.len(),
                limit: MAX_RECORDING_BYTES,
                unit: "bytes",
            });
        }
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').zip(1..);
        let first = lines.next().map_or(&[][..], |(line, _)| line);
        let header: Header = read(first, 1)?;
        if header.version != VERSION {
            return Err(RecordingError::Version { found: header.version });
        }
        exact(first, &header, 1)?;
        let mut responses = BTreeMap::new();
        for (text, number) in lines {
            if responses.len() == MAX_EXCHANGES {
                let found = MAX_EXCHANGES + 1;
                return Err(RecordingError::Limit { found, limit: MAX_EXCHANGES, unit: "responses" });
            }
            let exchange: Exchange = read(text, number)?;
            exact(text, &exchange, number)?;
            let wrong = |reason: &str| RecordingError::Line { line: number, reason: reason.to_owned() };
            if !matches!(exchange.response.status, 200..=499) {
                return Err(wrong("the status is not one that is recorded"));
            }
            if responses.last_key_value().is_some_and(|(last, _)| *last >= exchange.request) {
                return Err(wrong("it is out of order, or a duplicate"));
            }
            responses.insert(exchange.request, exchange.response);
        }
        Ok(Self { responses })
    }
}

fn line<T: Serialize>(value: &T) -> Vec<u8> {
    // Strings, numbers, and maps with string keys cannot fail to serialize.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn read<'a, T: Deserialize<'a>>(text: &'a [u8], line: usize) -> Result<T, RecordingError> {
    serde_json::from_slice(text).map_err(|error| RecordingError::Line { line, reason: error.to_string() })
}

fn exact<T: Serialize>(text: &[u8], value: &T, number: usize) -> Result<(), RecordingError> {
    if text == line(value) {
        return Ok(());
    }
    Err(RecordingError::Line {
        line: number,
        reason: "it is not in the exact format that carafe writes".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let mut recording = Recording::default();
        for (url, body) in [("https://b/", "x"), ("https://a/?q=1", "y"), ("https://a/", "z")] {
            let headers = [("accept".to_owned(), "text/\"html\"".to_owned())].into();
            let request =
                RecordedRequest { url: url.parse().unwrap(), method: Method::Get, headers, body: None };
            let headers = [("content-type".to_owned(), "text/html".to_owned())].into();
            let response =
                RecordedResponse { status: 200, headers, body: Digest::of(body.as_bytes()), size: 1 };
            recording.insert(request, response);
        }
        recording
    }

    #[test]
    fn equal_recordings_have_equal_bytes() {
        let bytes = recording().to_bytes();
        insta::assert_snapshot!(String::from_utf8(bytes.clone()).unwrap());
        assert_eq!(Recording::parse(&bytes).unwrap(), recording());
        let mut other = Recording::default();
        for (request, response) in recording().entries().collect::<Vec<_>>().into_iter().rev() {
            other.insert(request.clone(), response.clone());
        }
        assert_eq!(other.digest(), recording().digest());
    }

    #[test]
    fn rejects_an_edited_recording_with_its_line() {
        let text = String::from_utf8(recording().to_bytes()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let edits = [
            (2, text.replace("https://a/\"", "https://A/\"")),
            (3, [lines[0], lines[2], lines[1], lines[3], ""].join("\n")),
            (3, [lines[0], lines[1], lines[1], ""].join("\n")),
            (2, text.replacen("\"size\":1", "\"size\": 1", 1)),
            (2, text.replacen("\"size\":1", "\"size\":1,\"more\":1", 1)),
            (2, text.replacen("\"status\":200", "\"status\":503", 1)),
            (2, text.replacen("sha256:", "sha512:", 1)),
            (4, text.trim_end().to_owned()),
            (1, "{\"carafe-record\": 1}\n".to_owned()),
            (1, String::new()),
        ];
        for (line, edited) in edits {
            let error = Recording::parse(edited.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} ")), "{error}: {edited}");
        }
        let newer = text.replacen(":1", ":2", 1);
        assert!(matches!(Recording::parse(newer.as_bytes()), Err(RecordingError::Version { found: 2 })));
    }
}
