//! gix's http client with an end to what a server may send.

use std::any::Any;
use std::io::{self, BufRead, Read};

use gix::protocol::transport::client::blocking_io::http::reqwest::Remote as Client;
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};

/// The client; all its answers together may have `left` bytes.
pub(super) struct Bounded {
    client: Client,
    limit: u64,
}

impl Bounded {
    pub fn new(limit: u64) -> Self {
        Self { client: Client::default(), limit }
    }

    fn end<R>(&self, body: R) -> BoundedBody<R> {
        BoundedBody { body, left: self.limit, limit: self.limit }
    }
}

impl Http for Bounded {
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
        Ok(GetResponse { headers, body: self.end(body) })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        kind: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let PostResponse { post_body, headers, body } = self.client.post(url, base_url, headers, kind)?;
        Ok(PostResponse { post_body, headers, body: self.end(body) })
    }

    fn configure(&mut self, config: &dyn Any) -> gix::Result {
        self.client.configure(config)
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.client.redirected_base_url()
    }
}

/// A body that fails, rather than ends, when it is longer than allowed.
pub(super) struct BoundedBody<R> {
    body: R,
    left: u64,
    limit: u64,
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
            return Err(io::Error::other(format!("the server sent more than {} bytes", self.limit)));
        }
        Ok(filled)
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.body.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_within_the_limit_is_whole_and_a_longer_one_fails() {
        let read = |limit| {
            let mut text = String::new();
            let mut body = BoundedBody { body: io::Cursor::new("12345"), left: limit, limit };
            body.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(read(5).unwrap(), "12345");
        assert!(read(4).is_err());
    }
}
