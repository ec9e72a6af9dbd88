//! What is read from any answer: a header, a short text, and what a refusal means.

use carafe_builder::net::retry::RetryAfter;
use reqwest::Response;
use reqwest::header::{HeaderName, RETRY_AFTER};

use crate::registry::error::{Principal, RegistryError, RequestContext};

/// As much of an error's or a token's body as is read.
const MAX_TEXT_BYTES: usize = 128 << 10;

/// An answer that is a refusal, as an error.
pub(in crate::registry) async fn refused(
    attempt: &RequestContext<'_>,
    principal: Principal,
    response: Response,
) -> RegistryError {
    let status = response.status();
    let after = header(&response, &RETRY_AFTER).and_then(RetryAfter::parse);
    let mut error = attempt.refusal(principal, status, &read_text(response).await);
    if let RegistryError::Refused { retry_after, .. } = &mut error {
        *retry_after = after;
    }
    error
}

/// A header's value, if it is there and is text.
pub(in crate::registry) fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The first bytes of a body as text; what cannot be read is left out.
pub(in crate::registry) async fn read_text(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_TEXT_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        bytes.extend_from_slice(&piece[..piece.len().min(MAX_TEXT_BYTES - bytes.len())]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
