//! Faults while a blob is read: it continues at the next byte, and is verified completely.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::ImageSource;

use crate::faulty::{FakeRegistry, Request, Response};
use crate::{client, name};

const BLOB: &[u8] = b"a blob that is read in more than one go";

/// Reads the blob from a server with this response to the n-th request (from 0).
fn read(
    response: impl Fn(usize, &Request) -> Response + Send + Sync + 'static,
) -> (std::io::Result<Vec<u8>>, Vec<Option<String>>) {
    let count = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |request| {
        request.is("GET", "/blobs/").then(|| response(count.fetch_add(1, Ordering::Relaxed), request))
    });
    let source = client(server.address()).source(&name(&server.image("a:1")));
    let mut bytes = Vec::new();
    let blob = Descriptor::of(media_type::LAYER_TAR, BLOB);
    let result = match source.blob(&blob) {
        Ok(mut reader) => reader.read_to_end(&mut bytes).map(|_| bytes),
        Err(error) => Err(std::io::Error::other(error)),
    };
    let requests = server.seen("GET", "/blobs/");
    (result, requests.into_iter().map(|request| request.headers.get("range").cloned()).collect())
}

/// A response that is shorter than its length.
fn cut(bytes: &[u8]) -> Response {
    Response::status(200).with("Content-Length", BLOB.len().to_string()).body(bytes)
}

fn partial(start: usize, stated: usize) -> Response {
    let range = format!("bytes {stated}-{}/{}", BLOB.len() - 1, BLOB.len());
    Response::status(206).with("Content-Range", range).body(&BLOB[start..])
}

#[test]
fn continues_after_a_broken_connection_at_the_next_byte() {
    let (read, ranges) = read(|nth, _| if nth == 0 { cut(&BLOB[..10]) } else { partial(10, 10) });
    assert_eq!(read.unwrap(), BLOB);
    assert_eq!(ranges, [None, Some("bytes=10-".to_owned())]);
}

#[test]
fn the_digest_detects_a_wrong_part() {
    let (read, _) = read(|nth, _| match nth {
        0 => cut(&BLOB[..10]),
        _ => {
            let mut response = partial(10, 10);
            response.2[0] ^= 1;
            response
        }
    });
    assert!(read.unwrap_err().to_string().contains("failed to verify blob"));
}

#[test]
fn gives_up_on_a_blob_that_never_arrives_completely() {
    let (read, ranges) = read(|_, _| cut(&BLOB[..10]));
    assert!(read.unwrap_err().to_string().contains("was interrupted"));
    assert_eq!(ranges.len(), 8);
}
