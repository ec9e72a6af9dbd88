//! What can go wrong with one try, and whether another one follows.

use std::time::{Duration, SystemTime};

use super::super::body_store::BodyStoreError;
use super::RetryPolicy;
use super::fetch::NoResponse;
use crate::net::retry::{RetryAfter, backoff};

/// Further tries after another answer than the recorded one: replicas may differ for a moment, but
/// each try is the whole body again.
const TRIES_AFTER_ANOTHER: u32 = 2;

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

/// The tries of one request.
pub(super) struct RetryState {
    retry_policy: RetryPolicy,
    failed: u32,
    brought_another: u32,
}

impl RetryState {
    pub fn new(retry_policy: RetryPolicy) -> Self {
        Self { retry_policy, failed: 0, brought_another: 0 }
    }

    /// What to say before the next try, and the pause before it; an error if there is none.
    pub fn after(&mut self, attempt_error: AttemptError) -> Result<(String, Duration), NoResponse> {
        self.failed += 1;
        let (reason, after, is_moved) = match attempt_error {
            AttemptError::Lasting(error) => return Err(error),
            AttemptError::Passing { reason, after } => (reason, after, false),
            AttemptError::Another { reason, is_moved } => {
                self.brought_another += 1;
                (reason, None, is_moved)
            }
        };
        let RetryPolicy { tries, first_pause, longest_pause, .. } = self.retry_policy;
        if self.failed >= tries || self.brought_another > TRIES_AFTER_ANOTHER {
            let reason = format!("{reason} ({} tries)", self.failed);
            return Err(if is_moved { NoResponse::Moved(reason) } else { NoResponse::Failed(reason) });
        }
        let asked = after.map(|after| after.pause(SystemTime::now())).unwrap_or_default();
        if asked > longest_pause {
            let seconds = asked.as_secs();
            return Err(NoResponse::Failed(format!("{reason}; it wants to be left alone for {seconds} s")));
        }
        let pause = backoff(self.failed, first_pause, longest_pause).max(asked);
        Ok((format!("{reason}; trying again in {:.1} s", pause.as_secs_f32()), pause))
    }
}
