//! Whether another attempt follows a failed one.

use std::time::Duration;

use super::error::{AttemptError, UpstreamError};
use crate::net::retry::{GaveUp, RetryPolicy, RetryState, SystemClock};

/// Maximum number of retries after a response that differs from the recorded one: replicas may
/// differ for a moment, but each attempt transfers the complete body again.
const MAX_MISMATCH_RETRIES: u32 = 2;

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

    /// The warning and the pause before the next attempt, or the error if there is none.
    pub fn after(&mut self, error: AttemptError) -> Result<(String, Duration), UpstreamError> {
        let (reason, retry_after, is_changed) = match error {
            AttemptError::Permanent(error) => return Err(error),
            AttemptError::Transient { reason, retry_after } => (reason, retry_after, false),
            AttemptError::Mismatch { reason, is_changed } => {
                self.mismatches += 1;
                (reason, None, is_changed)
            }
        };
        let next = self.state.next(&self.policy, self.policy.max_attempts, &self.clock, retry_after);
        let attempts = self.state.failures();
        match next {
            Ok(pause) if self.mismatches <= MAX_MISMATCH_RETRIES => {
                Ok((format!("{reason}; retrying in {:.1} s", pause.as_secs_f32()), pause))
            }
            Err(GaveUp::RetryAfter(pause)) => {
                let seconds = pause.as_secs();
                Err(UpstreamError::Failed(format!(
                    "{reason}, and requested a pause of {seconds} s (Retry-After)"
                )))
            }
            _ if is_changed => Err(UpstreamError::Changed(format!("{reason} ({attempts} attempts)"))),
            _ => Err(UpstreamError::Failed(format!("{reason} ({attempts} attempts)"))),
        }
    }
}
