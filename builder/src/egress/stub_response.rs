//! The response for hosts that the build is configured not to use (`refused-hosts`).
//!
//! It has status 404, which most clients tolerate where they can: pip and uv try the next index, and
//! uv fetches a repository instead of one of its files. After 403 or 5xx some of them give up.

use carafe_layers::digest::Digest;

use super::recording::RecordedResponse;

/// The body. Recordings have its digest: with another text, a replay could not create it again.
const BODY: &str = "carafe: this build does without this host (`refused-hosts` of `[network]`)\n";

/// The response, the same for every request.
pub(super) fn stub_response() -> RecordedResponse {
    let headers = [("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())].into();
    RecordedResponse { status: 404, headers, body: Digest::of(BODY.as_bytes()), size: BODY.len() as u64 }
}

/// The body, if `digest` is its digest. So a replay needs neither the body store nor the spec for it.
pub(super) fn stub_body(digest: &Digest) -> Option<&'static [u8]> {
    (*digest == Digest::of(BODY.as_bytes())).then_some(BODY.as_bytes())
}
