//! Trying again: which failures pass by themselves, how long to wait for it, and when to give up.
//!
//! One policy for every request. A try is one request, or one chunk of a blob: what got through
//! gives the next one its full budget back.

use std::time::Duration;

use carafe_builder::net::retry::backoff;

use super::error::{RegistryError, RequestContext};
use super::shared::Shared;

/// So often is a request sent at most.
const TRIES: u32 = 8;
/// The same for a host to which no connection was ever made (more likely its name is wrong), and
/// for a mirror, after which there is another place to ask.
const FEW_TRIES: u32 = 3;
/// No further try is begun this long after the first one failed.
const TIME: Duration = Duration::from_secs(5 * 60);
/// Before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A pause of our own choice is never longer. A registry may ask for a longer one.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The failures of one request so far.
#[derive(Default)]
pub(super) struct RetryState {
    failures: u32,
    first: Option<Duration>,
    has_new_token: bool,
}

impl RetryState {
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

impl Shared {
    /// `work`, again and again until it succeeds, fails for good, or the budget is used up.
    pub(super) fn persist<T>(
        &self,
        attempt: &RequestContext<'_>,
        mut work: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut tries = RetryState::default();
        loop {
            match work() {
                Ok(done) => {
                    self.seen_hosts.add(attempt.repository.registry());
                    return Ok(done);
                }
                Err(error) => self.again(attempt, &mut tries, error)?,
            }
        }
    }

    /// Waits, if it is worth to try once more after `error`; gives the error back if it is not.
    pub(super) fn again(
        &self,
        attempt: &RequestContext<'_>,
        tries: &mut RetryState,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        // A token may end in the middle; a second one that is refused too was not too old.
        if matches!(error, RegistryError::Unauthorized { .. }) && !tries.has_new_token {
            tries.has_new_token = true;
            return if self.block_on(self.client.auth.forget(attempt)) { Ok(()) } else { Err(error) };
        }
        if !error.is_passing() {
            return Err(error);
        }
        let host = attempt.repository.registry();
        let is_stranger =
            matches!(error, RegistryError::Unreachable { .. }) && !self.seen_hosts.contains(host);
        if !matches!(error, RegistryError::Unreachable { .. }) {
            self.seen_hosts.add(host);
        }
        let retry_policy = &self.retry_policy;
        let now = retry_policy.clock.elapsed();
        let first = *tries.first.get_or_insert(now);
        tries.failures += 1;
        let asked = error.retry_after().map(|after| after.pause(retry_policy.clock.date()));
        let pause = backoff(tries.failures, FIRST_PAUSE, MAX_BACKOFF).max(asked.unwrap_or_default());
        let limit = if is_stranger || attempt.is_mirror { FEW_TRIES } else { TRIES };
        if tries.failures >= limit || (now - first).saturating_add(pause) > TIME {
            return Err(error);
        }
        let seconds = pause.as_secs_f32();
        retry_policy
            .warn(format!("{error}; trying again in {seconds:.1} s ({} of {limit})", tries.failures + 1));
        retry_policy.clock.sleep(pause);
        Ok(())
    }
}
