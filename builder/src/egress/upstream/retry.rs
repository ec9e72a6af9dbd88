//! What can go wrong with one try, and whether another one follows.

use std::time::Duration;

use super::super::body_store::BodyStoreError;
use super::fetch::NoResponse;
use crate::net::retry::{GaveUp, RetryAfter, RetryPolicy, RetryState, SystemClock};

/// Maximum attempts after a response that differs from the recorded one: replicas may differ for a
/// moment, but each attempt transfers the complete body again.
const MAX_MISMATCHES: u32 = 2;

/// Why one try brought no answer.
pub(super) enum AttemptError {
    /// The next one may.
    Passing { reason: String, after: Option<RetryAfter> },
    /// It brought another answer than the recorded one; `is_moved` if it is such a one, only with
    /// another body.
    Another { reason: String, is_moved: bool },
    /// None will.
    Lasting(NoResponse),
}

impl AttemptError {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), after: None }
    }

    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self::Lasting(NoResponse::Failed(reason.into()))
    }
}

impl From<BodyStoreError> for AttemptError {
    fn from(error: BodyStoreError) -> Self {
        match error {
            BodyStoreError::TooLarge => Self::lasting(error.to_string()),
            error => Self::Lasting(NoResponse::Store(error)),
        }
    }
}

/// The attempts of one request.
pub(super) struct Attempts {
    policy: RetryPolicy,
    clock: SystemClock,
    state: RetryState,
    mismatches: u32,
}

impl Attempts {
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, clock: SystemClock::start(), state: RetryState::default(), mismatches: 0 }
    }

    /// The warning and the pause before the next attempt; an error if there is none.
    pub fn after(&mut self, error: AttemptError) -> Result<(String, Duration), NoResponse> {
        let (reason, retry_after, is_moved) = match error {
            AttemptError::Lasting(error) => return Err(error),
            AttemptError::Passing { reason, after } => (reason, after, false),
            AttemptError::Another { reason, is_moved } => {
                self.mismatches += 1;
                (reason, None, is_moved)
            }
        };
        let next = self.state.next(&self.policy, self.policy.max_attempts, &self.clock, retry_after);
        let attempts = self.state.failures();
        match next {
            Ok(pause) if self.mismatches <= MAX_MISMATCHES => {
                Ok((format!("{reason}; retrying in {:.1} s", pause.as_secs_f32()), pause))
            }
            Err(GaveUp::RetryAfter(pause)) => {
                let seconds = pause.as_secs();
                Err(NoResponse::Failed(format!("{reason}; it requests a pause of {seconds} s (Retry-After)")))
            }
            _ if is_moved => Err(NoResponse::Moved(format!("{reason} ({attempts} attempts)"))),
            _ => Err(NoResponse::Failed(format!("{reason} ({attempts} attempts)"))),
        }
    }
}
