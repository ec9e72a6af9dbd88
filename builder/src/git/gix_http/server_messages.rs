//! What a server sends to be printed, found in its response while gix reads the pack.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a message that are kept.
const MAX_LINE_BYTES: usize = 1024;
/// Messages that are kept: the last ones, which contain the cause.
const MAX_MESSAGES: usize = 4;
/// Sidebands (gitprotocol-pack): progress and other text, and the error that ends the response.
const TEXT_BANDS: [u8; 2] = [2, 3];
/// Hexadecimal digits of a pkt-line's length.
const LENGTH_DIGITS: usize = 4;

/// The messages of one server, shared by all its responses.
#[derive(Clone, Default)]
pub(super) struct ServerMessages(Arc<Mutex<Vec<String>>>);

impl ServerMessages {
    /// The messages in one text, one in each line; `None` without any.
    pub fn text(&self) -> Option<String> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (!messages.is_empty()).then(|| messages.join("\n"))
    }

    /// A scanner for one response.
    pub fn scanner(&self) -> Scanner {
        Scanner { messages: self.clone(), length: Vec::new(), rest: 0, line: Vec::new() }
    }

    fn add(&self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let lines = text.split(['\r', '\n']).map(str::trim);
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.extend(lines.filter(|line| !line.is_empty() && !is_progress(line)).map(str::to_owned));
        let excess = messages.len().saturating_sub(MAX_MESSAGES);
        messages.drain(..excess);
    }
}

/// Whether git prints such a line while it counts and compresses objects.
fn is_progress(line: &str) -> bool {
    const STARTS: [&str; 3] = ["Enumerating objects:", "Counting objects:", "Total "];
    line.contains("% (") || line.ends_with("done.") || STARTS.iter().any(|start| line.starts_with(start))
}

/// Follows the pkt-lines of a response, and collects those of the text sidebands.
pub(super) struct Scanner {
    messages: ServerMessages,
    /// The digits of the current length.
    length: Vec<u8>,
    /// Bytes of the current pkt-line that were not read yet.
    rest: usize,
    /// The current pkt-line if it has a text sideband, otherwise only its first byte.
    line: Vec<u8>,
}

impl Scanner {
    /// Continues with the next bytes of the response. What is not in pkt-lines is ignored.
    pub fn scan(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.rest > 0 {
                let (line, next) = bytes.split_at(self.rest.min(bytes.len()));
                self.scan_line(line);
                bytes = next;
                continue;
            }
            self.length.push(*first);
            bytes = rest;
            if self.length.len() == LENGTH_DIGITS {
                self.rest = payload_bytes(&std::mem::take(&mut self.length));
            }
        }
    }

    fn scan_line(&mut self, part: &[u8]) {
        let band = self.line.first().or(part.first());
        let is_text = band.is_some_and(|band| TEXT_BANDS.contains(band));
        let max = if is_text { MAX_LINE_BYTES } else { 1 };
        let room = max.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.rest -= part.len();
        if self.rest == 0 {
            if is_text {
                self.messages.add(&self.line[1..]);
            }
            self.line.clear();
        }
    }
}

/// The bytes after a length, which counts its own digits. Special pkt-lines have none.
fn payload_bytes(digits: &[u8]) -> usize {
    let length = std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    length.unwrap_or_default().saturating_sub(LENGTH_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"000dpackfile\n0009\x01PACK0022\x02Counting objects: 100% (2/2)\r\
        0019\x02fatal: bad object x\n000c\x01\x02\x02\x02\x02\x02\x02\x02000d\x03aborting0000";

    fn found(response: &[u8], chunk: usize) -> Option<String> {
        let messages = ServerMessages::default();
        let mut scanner = messages.scanner();
        response.chunks(chunk).for_each(|bytes| scanner.scan(bytes));
        messages.text()
    }

    #[test]
    fn finds_messages_however_the_response_is_cut() {
        for chunk in [1, 3, 7, RESPONSE.len()] {
            assert_eq!(found(RESPONSE, chunk).as_deref(), Some("fatal: bad object x\naborting"), "{chunk}");
        }
    }

    #[test]
    fn ignores_other_responses() {
        for response in [&b""[..], b"0000", b"<html>no git here</html>", b"001e# service=git-upload-pack\n"] {
            assert_eq!(found(response, 4), None);
        }
    }
}
