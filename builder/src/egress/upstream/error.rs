//! Why a request to an upstream server, or one attempt of it, failed.

use crate::egress::body_store::BodyStoreError;
use crate::net::retry::RetryAfter;

/// Why a request got no response. The texts are not redacted.
pub(in crate::egress) enum UpstreamError {
    /// The host, or what it resolves to, is this private address.
    PrivateAddress(String),
    /// All attempts failed, or one failed in a way that no retry can repair.
    Failed(String),
    /// The server has another body than the recorded one, at every attempt.
    Changed(String),
    /// The body store failed.
    Store(BodyStoreError),
}

/// Why one attempt failed.
pub(super) enum AttemptError {
    /// The next attempt may succeed.
    Transient { reason: String, retry_after: Option<RetryAfter> },
    /// The response differs from the recorded one. `is_changed`: it is complete and has the
    /// recorded status, so only the server's content can have changed.
    Mismatch { reason: String, is_changed: bool },
    /// No further attempt can succeed.
    Permanent(UpstreamError),
}

impl AttemptError {
    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), retry_after: None }
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(UpstreamError::Failed(reason.into()))
    }
}

impl From<BodyStoreError> for AttemptError {
    fn from(error: BodyStoreError) -> Self {
        match error {
            BodyStoreError::TooLarge => Self::permanent(error.to_string()),
            error => Self::Permanent(UpstreamError::Store(error)),
        }
    }
}
