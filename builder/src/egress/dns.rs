//! DNS queries (RFC 1035) in the sandbox, and the response to each: NXDOMAIN.
//!
//! A program that uses its proxy sends no DNS query. One that does bypasses the proxy, and gets
//! NXDOMAIN at once so that it does not wait and retry.

use carafe_layers::text::escape_bytes;

/// Size of a message's header.
const HEADER_BYTES: usize = 12;

/// Maximum size of a name in a message.
const MAX_NAME_BYTES: usize = 255;

/// A query of a resolver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DnsQuery {
    /// The queried name, without control characters.
    pub name: String,
    /// The response: NXDOMAIN.
    pub response: Vec<u8>,
}

impl DnsQuery {
    /// Parses a message. `None` unless it is a query with exactly one question.
    pub fn parse(message: &[u8]) -> Option<Self> {
        const IS_RESPONSE: u8 = 0x80;
        let header = message.get(..HEADER_BYTES)?;
        let questions = u16::from_be_bytes([header[4], header[5]]);
        if header[2] & IS_RESPONSE != 0 || questions != 1 {
            return None;
        }
        let (name, name_end) = name(message)?;
        // Type and class follow the name.
        let question = message.get(HEADER_BYTES..name_end + 4)?;
        Some(Self { name, response: nxdomain(header, question) })
    }
}

/// The name after the header, and the offset of its end.
fn name(message: &[u8]) -> Option<(String, usize)> {
    const MAX_LABEL_BYTES: usize = 63;
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        // A larger length marks a compression pointer, which a query does not need.
        let label = message.get(at + 1..=at + length).filter(|_| length <= MAX_LABEL_BYTES)?;
        labels.push(escape_bytes(&label.to_ascii_lowercase()));
        at += 1 + length;
        if at - HEADER_BYTES > MAX_NAME_BYTES {
            return None;
        }
    }
}

/// The response with the ID and the opcode of the query, and the code NXDOMAIN.
fn nxdomain(header: &[u8], question: &[u8]) -> Vec<u8> {
    const RESPONSE: u8 = 0x80;
    /// The opcode and the recursion-desired bit, which are copied to the response.
    const COPIED: u8 = 0x79;
    const RECURSION_AVAILABLE: u8 = 0x80;
    const NXDOMAIN: u8 = 3;
    let flags = [RESPONSE | header[2] & COPIED, RECURSION_AVAILABLE | NXDOMAIN];
    let counts = [0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..2], &flags, &counts, question].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &[u8]) -> Vec<u8> {
        let header = [0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
        // Type A, class IN, and the additional record that resolvers send.
        [&header[..], name, &[0, 1, 0, 1], &[0, 0, 41, 0, 0]].concat()
    }

    #[test]
    fn every_name_is_nonexistent() {
        let query = DnsQuery::parse(&query(b"\x04PyPI\x03org\0")).unwrap();
        assert_eq!(query.name, "pypi.org");
        let header = [0x12, 0x34, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(query.response, [&header[..], b"\x04PyPI\x03org\0", &[0, 1, 0, 1]].concat());
    }

    #[test]
    fn ignores_other_messages() {
        let mut response = query(b"\x01a\0");
        response[2] |= 0x80;
        let mut two = query(b"\x01a\0");
        two[5] = 2;
        let long = [&[63; 1][..], &[b'a'; 63]].concat().repeat(5);
        for bad in [
            response,
            two,
            query(&[&long[..], b"\0"].concat()),
            query(b"\xc0\x0c"),
            query(b"\x3fa"),
            query(b"\x01a\0")[..15].to_vec(),
            Vec::new(),
        ] {
            assert_eq!(DnsQuery::parse(&bad), None, "{bad:?}");
        }
        assert_eq!(DnsQuery::parse(&query(b"\x03a\nb\0")).unwrap().name, "a\\nb");
    }
}
