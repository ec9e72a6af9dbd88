//! Faults while a blob is read: it goes on from its next byte, and is verified as a whole.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::ImageSource;

use crate::faulty::{Answer, FaultyServer, Request};
use crate::{client, name};

const BLOB: &[u8] = b"a blob that is read in more than one go";

/// Reads the blob from a server that answers the n-th request for it (from 0) so.
fn read(
    answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
) -> (std::io::Result<Vec<u8>>, Vec<Option<String>>) {
    let seen_hosts = AtomicUsize::new(0);
    let server = FaultyServer::start(move |request| {
        request.is("GET", "/blobs/").then(|| answer(seen_hosts.fetch_add(1, Ordering::Relaxed), request))
    });
    let source = client(server.address()).source(&name(&server.image("a:1")));
    let mut bytes = Vec::new();
    let blob = Descriptor::of(media_type::LAYER_TAR, BLOB);
    let result = match source.blob(&blob) {
        Ok(mut reader) => reader.read_to_end(&mut bytes).map(|_| bytes),
        Err(error) => Err(std::io::Error::other(error)),
    };
    let asked = server.seen("GET", "/blobs/");
    (result, asked.into_iter().map(|request| request.headers.get("range").cloned()).collect())
}

/// As much as is promised of all of it, and then the connection closes.
fn cut(bytes: &[u8]) -> Answer {
    Answer::status(200).with("Content-Length", BLOB.len().to_string()).body(bytes)
}

fn partial(start: usize, stated: usize) -> Answer {
    let range = format!("bytes {stated}-{}/{}", BLOB.len() - 1, BLOB.len());
    Answer::status(206).with("Content-Range", range).body(&BLOB[start..])
}

#[test]
fn a_broken_connection_goes_on_from_the_next_byte() {
    let (read, ranges) = read(|nth, _| if nth == 0 { cut(&BLOB[..10]) } else { partial(10, 10) });
    assert_eq!(read.unwrap(), BLOB);
    assert_eq!(ranges, [None, Some("bytes=10-".to_owned())]);
}

#[test]
fn a_part_that_is_wrongly_labelled_is_found_by_the_digest() {
    let (read, _) = read(|nth, _| match nth {
        0 => cut(&BLOB[..10]),
        _ => {
            let mut answer = partial(10, 10);
            answer.2[0] ^= 1;
            answer
        }
    });
    assert!(read.unwrap_err().to_string().contains("wanted sha256:"));
}

#[test]
fn a_blob_that_never_comes_whole_is_given_up() {
    let (read, ranges) = read(|_, _| cut(&BLOB[..10]));
    assert!(read.unwrap_err().to_string().contains("broke off"));
    assert_eq!(ranges.len(), 8);
}
