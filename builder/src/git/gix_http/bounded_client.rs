//! gix's HTTP client with a limit on the size of responses.

use std::any::Any;
use std::io::{self, BufRead, Read};

use gix::protocol::transport::client::blocking_io::http::reqwest::Remote as Client;
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};

use super::server_messages::{Scanner, ServerMessages};
use crate::git::limits;

/// The client. Each response may have at most `limit` bytes.
pub(super) struct BoundedClient {
    client: Client,
    limit: u64,
    messages: ServerMessages,
}

impl BoundedClient {
    /// `messages` receives what the server sends to be printed.
    pub fn new(limit: u64, messages: ServerMessages) -> Self {
        Self { client: Client::default(), limit, messages }
    }

    fn bounded<R>(&self, body: R) -> BoundedBody<R> {
        BoundedBody { body, left: self.limit, limit: self.limit, scanner: self.messages.scanner() }
    }
}

impl Http for BoundedClient {
    type Headers = <Client as Http>::Headers;
    type ResponseBody = BoundedBody<<Client as Http>::ResponseBody>;
    type PostBody = <Client as Http>::PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let GetResponse { headers, body } = self.client.get(url, base_url, headers)?;
        Ok(GetResponse { headers, body: self.bounded(body) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let PostResponse { post_body, headers, body } = self.client.post(url, base_url, headers, kind)?;
        Ok(PostResponse { post_body, headers, body: self.bounded(body) })
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.client.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.client.redirected_base_url()
    }
}

/// A response body. Reading it fails when it is longer than the limit.
pub(super) struct BoundedBody<R> {
    body: R,
    left: u64,
    limit: u64,
    scanner: Scanner,
}

impl<R: BufRead> Read for BoundedBody<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let filled = self.fill_buf()?;
        let count = filled.len().min(out.len());
        out[..count].copy_from_slice(&filled[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for BoundedBody<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let filled = self.body.fill_buf()?;
        if filled.len() as u64 > self.left {
            let limit = limits::bytes(self.limit);
            return Err(io::Error::other(format!("the response exceeds the limit of {limit}")));
        }
        Ok(filled)
    }

    fn consume(&mut self, count: usize) {
        // The consumed bytes are still in the buffer, so this does not read from the network.
        if count > 0
            && let Ok(buffer) = self.body.fill_buf()
        {
            self.scanner.scan(&buffer[..count.min(buffer.len())]);
        }
        self.left = self.left.saturating_sub(count as u64);
        self.body.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_have_the_limit_and_no_more() {
        let read = |limit| {
            let mut text = String::new();
            let (body, scanner) = (io::Cursor::new("12345"), ServerMessages::default().scanner());
            let mut body = BoundedBody { body, left: limit, limit, scanner };
            body.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(5).unwrap(), "12345");
        assert!(read(4).is_err());
    }
}
