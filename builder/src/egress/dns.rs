//! The name server of a sandbox: it knows nobody, and tells who was asked for.
//!
//! A program that uses its proxy asks for no name. One that does has gone past it, and is told at
//! once that there is no such name, so that it does not try again and again.

use carafe_layers::text::escape_bytes;

/// Bytes of a message's header.
const HEADER: usize = 12;

/// Bytes of the longest name, as it stands in a message.
const MAX_NAME_BYTES: usize = 255;

/// A question that a resolver sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UpstreamRequest {
    /// The name, without control characters.
    pub name: String,
    /// What to send back: that there is no such name.
    pub answer: Vec<u8>,
}

impl UpstreamRequest {
    /// Reads a message (RFC 1035); nothing if it is no single question.
    pub fn parse(message: &[u8]) -> Option<Self> {
        const IS_ANSWER: u8 = 0x80;
        let header = message.get(..HEADER)?;
        let questions = u16::from_be_bytes([header[4], header[5]]);
        if header[2] & IS_ANSWER != 0 || questions != 1 {
            return None;
        }
        let (name, name_end) = name(message)?;
        // Type and class follow the name.
        let question = message.get(HEADER..name_end + 4)?;
        Some(Self { name, answer: no_such_name(header, question) })
    }
}

/// The name after the header, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    const MAX_LABEL_BYTES: usize = 63;
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        // A longer one would be a pointer, which a question has no use for.
        let label = message.get(at + 1..=at + length).filter(|_| length <= MAX_LABEL_BYTES)?;
        labels.push(escape_bytes(&label.to_ascii_lowercase()));
        at += 1 + length;
        if at - HEADER > MAX_NAME_BYTES {
            return None;
        }
    }
}

/// The answer with the question's number and kind, and the code for "no such name".
fn no_such_name(header: &[u8], question: &[u8]) -> Vec<u8> {
    const ANSWER: u8 = 0x80;
    /// The kind of question, and whether recursion is wanted: said again in the answer.
    const SAID_AGAIN: u8 = 0x79;
    const RECURSION_AVAILABLE: u8 = 0x80;
    const NO_SUCH_NAME: u8 = 3;
    let flags = [ANSWER | header[2] & SAID_AGAIN, RECURSION_AVAILABLE | NO_SUCH_NAME];
    let counts = [0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..2], &flags, &counts, question].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &[u8]) -> Vec<u8> {
        let header = [0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
        // Type A, class IN, and one additional record that resolvers send along.
        [&header[..], name, &[0, 1, 0, 1], &[0, 0, 41, 0, 0]].concat()
    }

    #[test]
    fn every_name_is_unknown() {
        let found = UpstreamRequest::parse(&question(b"\x04PyPI\x03org\0")).unwrap();
        assert_eq!(found.name, "pypi.org");
        let header = [0x12, 0x34, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(found.answer, [&header[..], b"\x04PyPI\x03org\0", &[0, 1, 0, 1]].concat());
    }

    #[test]
    fn what_is_no_question_is_left_alone() {
        let mut answer = question(b"\x01a\0");
        answer[2] |= 0x80;
        let mut two = question(b"\x01a\0");
        two[5] = 2;
        let long = [&[63; 1][..], &[b'a'; 63]].concat().repeat(5);
        for bad in [
            answer,
            two,
            question(&[&long[..], b"\0"].concat()),
            question(b"\xc0\x0c"),
            question(b"\x3fa"),
            question(b"\x01a\0")[..15].to_vec(),
            Vec::new(),
        ] {
            assert_eq!(UpstreamRequest::parse(&bad), None, "{bad:?}");
        }
        assert_eq!(UpstreamRequest::parse(&question(b"\x03a\nb\0")).unwrap().name, "a\\nb");
    }
}
