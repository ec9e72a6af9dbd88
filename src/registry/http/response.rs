//! What is read from any response: a header, a short body, an error.

use carafe_builder::net::retry::RetryAfter;
use reqwest::Response;
use reqwest::header::{HeaderName, RETRY_AFTER};

use crate::registry::error::{Principal, RegistryError, RequestContext};

/// Maximum size of the body of an error or a token; the rest is not read.
const MAX_TEXT_BYTES: usize = 128 << 10;

/// The error for a response whose status is not a success.
pub(crate) async fn rejection(
    context: &RequestContext<'_>,
    principal: Principal,
    response: Response,
) -> RegistryError {
    let status = response.status();
    let after = header(&response, &RETRY_AFTER).and_then(RetryAfter::parse);
    let mut error = context.rejection(principal, status, &read_text(response).await);
    if let RegistryError::Rejected { retry_after, .. } = &mut error {
        *retry_after = after;
    }
    error
}

/// The value of a header, if it exists and is text.
pub(crate) fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The first bytes of a body as text. What cannot be read is left out.
pub(super) async fn read_text(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_TEXT_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        bytes.extend_from_slice(&piece[..piece.len().min(MAX_TEXT_BYTES - bytes.len())]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
