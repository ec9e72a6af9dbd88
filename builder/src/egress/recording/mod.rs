//! The memory of a build's network: which request got which answer.

mod exchange;

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::net::PublicUrl;

pub use exchange::{Answer, Entry, Method, Request};

/// Bytes of the largest record.
pub const MAX_RECORDING_BYTES: usize = 64 << 20;
/// Answers in the largest record.
pub const MAX_EXCHANGES: usize = 100_000;
/// The form that this carafe writes and reads.
const VERSION: u32 = 1;

/// A text that is no record.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RecordingError {
    /// It is too long to be one.
    #[error("failed to read the record: it has {found} {unit}, at most {limit} are allowed")]
    #[diagnostic(help("this is a guard against hostile input; if yours is real, tell us"))]
    Limit {
        /// How much.
        found: usize,
        /// How much is allowed.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// It was written by a newer carafe.
    #[error("failed to read the record: it has version {found}, this carafe knows version 1")]
    #[diagnostic(help("use the carafe that wrote it, or record again with `carafe build --update`"))]
    Version {
        /// Which.
        found: u32,
    },
    /// A line is not what it should be.
    #[error("failed to read line {line} of the record: {reason}")]
    #[diagnostic(help(
        "a record is not edited by hand; take the file from version control, or record again with \
         `carafe build --update`"
    ))]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
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

/// Every answer that a build got, by its request. Equal records have equal bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Recording {
    answers: BTreeMap<Request, Answer>,
}

impl Recording {
    /// The answer to `request`.
    pub fn get(&self, request: &Request) -> Option<&Answer> {
        self.answers.get(request)
    }

    /// All answers of `url`, however it was asked.
    pub fn answers_of(&self, url: &PublicUrl) -> impl Iterator<Item = &Answer> {
        let first = Request { url: url.clone(), method: Method::Get, headers: BTreeMap::new(), body: None };
        let from = self.answers.range(first..);
        from.take_while(move |(request, _)| request.url == *url).map(|(_, answer)| answer)
    }

    /// Adds an answer; the one that was there before is returned.
    pub fn insert(&mut self, request: Request, answer: Answer) -> Option<Answer> {
        self.answers.insert(request, answer)
    }

    /// Everything in it, in the order it is written in: by address, method, headers, body.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Request, &Answer)> {
        self.answers.iter()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The bodies that its answers need, each once, with their lengths in bytes.
    pub fn bodies(&self) -> BTreeMap<Digest, u64> {
        self.answers.values().map(|answer| (answer.body, answer.size)).collect()
    }

    /// The text of it: JSON, one line for the version and one for each answer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = line(&Header { version: VERSION });
        for (request, answer) in &self.answers {
            text.extend(line(&Entry { request: request.clone(), answer: answer.clone() }));
        }
        text
    }

    /// The digest of [`to_bytes`](Self::to_bytes): what a lock names.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, and nothing else: any other order, spacing
    /// or spelling of the same is refused.
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
        let mut answers = BTreeMap::new();
        for (text, number) in lines {
            if answers.len() == MAX_EXCHANGES {
                let found = MAX_EXCHANGES + 1;
                return Err(RecordingError::Limit { found, limit: MAX_EXCHANGES, unit: "answers" });
            }
            let entry: Entry = read(text, number)?;
            exact(text, &entry, number)?;
            let wrong = |reason: &str| RecordingError::Line { line: number, reason: reason.to_owned() };
            if !matches!(entry.answer.status, 200..=499) {
                return Err(wrong("no such status is ever recorded"));
            }
            if answers.last_key_value().is_some_and(|(last, _)| *last >= entry.request) {
                return Err(wrong("it is out of order, or there twice"));
            }
            answers.insert(entry.request, entry.answer);
        }
        Ok(Self { answers })
    }
}

fn line<T: Serialize>(value: &T) -> Vec<u8> {
    // Strings, numbers and maps with string keys alone: it cannot fail.
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
    Err(RecordingError::Line { line: number, reason: "it is not written as carafe writes it".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Recording {
        let mut record = Recording::default();
        for (url, body) in [("https://b/", "x"), ("https://a/?q=1", "y"), ("https://a/", "z")] {
            let headers = [("accept".to_owned(), "text/\"html\"".to_owned())].into();
            let request = Request { url: url.parse().unwrap(), method: Method::Get, headers, body: None };
            let headers = [("content-type".to_owned(), "text/html".to_owned())].into();
            let answer = Answer { status: 200, headers, body: Digest::of(body.as_bytes()), size: 1 };
            record.insert(request, answer);
        }
        record
    }

    #[test]
    fn equal_recordings_have_equal_bytes() {
        let bytes = record().to_bytes();
        insta::assert_snapshot!(String::from_utf8(bytes.clone()).unwrap());
        assert_eq!(Recording::parse(&bytes).unwrap(), record());
        let mut other = Recording::default();
        for (request, answer) in record().entries().collect::<Vec<_>>().into_iter().rev() {
            other.insert(request.clone(), answer.clone());
        }
        assert_eq!(other.digest(), record().digest());
    }

    #[test]
    fn a_record_edited_by_hand_is_refused_with_its_line() {
        let text = String::from_utf8(record().to_bytes()).unwrap();
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
