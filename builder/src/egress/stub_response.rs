//! The answer for a host that the build is to do without: that what was asked is not there.
//!
//! 404 is what every client goes on after, where it can go on at all: pip and uv look into the
//! next index, uv reads a repository in place of one of its files. After 403 or a failure of the
//! server some of them give up.

use carafe_layers::digest::Digest;

use super::recording::Answer;

/// What it says. Records have its digest: with another text their bodies could not be made anew.
const TEXT: &str = "carafe: this build does without this host (`refused-hosts` of `[network]`)\n";

/// The answer, the same for every request.
pub(super) fn answer() -> Answer {
    let headers = [("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())].into();
    Answer { status: 404, headers, body: Digest::of(TEXT.as_bytes()), size: TEXT.len() as u64 }
}

/// The body, if it is this one. A replay elsewhere needs neither the store nor the spec for it.
pub(super) fn body(digest: &Digest) -> Option<&'static [u8]> {
    (*digest == Digest::of(TEXT.as_bytes())).then_some(TEXT.as_bytes())
}
