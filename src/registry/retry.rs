//! Patience: which failures pass by themselves, how long to wait for it, and when to give up.
//!
//! One policy for every request. A try is one request, or one chunk of a blob: what got through
//! gives the next one its full budget back. Nobody waits in a test: the clock is a parameter.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use carafe_builder::progress::Progress;
use carafe_builder::retry::backoff;

pub use carafe_builder::retry::RetryAfter;

use super::Shared;
use super::error::RegistryError;
use super::failure::Attempt;

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
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A registry that says nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(60);

/// Time, as far as trying again needs it.
pub trait Clock: Send + Sync {
    /// Since some fixed moment.
    fn elapsed(&self) -> Duration;
    /// The time of day, for a `Retry-After` that names one.
    fn date(&self) -> SystemTime;
    /// Blocks for so long.
    fn sleep(&self, pause: Duration);
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn date(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// How failures that pass are waited out, and who is told of it.
#[derive(Clone)]
pub struct Patience {
    progress: Progress,
    clock: Arc<dyn Clock>,
    silence: Duration,
}

impl Patience {
    /// Up to eight tries within five minutes; `progress` gets a warning for each further one.
    pub fn new(progress: Progress) -> Self {
        Self { progress, clock: Arc::new(SystemClock(Instant::now())), silence: SILENCE }
    }

    /// With another clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// A registry that says nothing for so long has failed; one minute unless set. A chunk of a
    /// blob has five times as long to be sent.
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Tells of a failure that is dealt with.
    pub(super) fn warn(&self, message: String) {
        self.progress.warn(message);
    }

    pub(super) fn silence(&self) -> Duration {
        self.silence
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Progress::silent())
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("silence", &self.silence).finish_non_exhaustive()
    }
}

/// The failures of one request so far.
#[derive(Default)]
pub(super) struct Tries {
    failures: u32,
    first: Option<Duration>,
    has_new_token: bool,
}

impl Tries {
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

/// The hosts to which a connection was made in this run.
#[derive(Default)]
pub(super) struct Met(Mutex<BTreeSet<String>>);

impl Met {
    pub(super) fn add(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}

impl Shared {
    /// `work`, again and again until it succeeds, fails for good, or the budget is used up.
    pub(super) fn persist<T>(
        &self,
        attempt: &Attempt<'_>,
        mut work: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut tries = Tries::default();
        loop {
            match work() {
                Ok(done) => {
                    self.met.add(attempt.repository.registry());
                    return Ok(done);
                }
                Err(error) => self.again(attempt, &mut tries, error)?,
            }
        }
    }

    /// Waits, if it is worth to try once more after `error`; gives the error back if it is not.
    pub(super) fn again(
        &self,
        attempt: &Attempt<'_>,
        tries: &mut Tries,
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
        let is_stranger = matches!(error, RegistryError::Unreachable { .. }) && !self.met.contains(host);
        if !matches!(error, RegistryError::Unreachable { .. }) {
            self.met.add(host);
        }
        let patience = &self.patience;
        let now = patience.clock.elapsed();
        let first = *tries.first.get_or_insert(now);
        tries.failures += 1;
        let asked = error.retry_after().map(|after| after.pause(patience.clock.date()));
        let pause = backoff(tries.failures, FIRST_PAUSE, LONGEST_PAUSE).max(asked.unwrap_or_default());
        let limit = if is_stranger || attempt.is_mirror { FEW_TRIES } else { TRIES };
        if tries.failures >= limit || (now - first).saturating_add(pause) > TIME {
            return Err(error);
        }
        let seconds = pause.as_secs_f32();
        patience.warn(format!("{error}; trying again in {seconds:.1} s ({} of {limit})", tries.failures + 1));
        patience.clock.sleep(pause);
        Ok(())
    }
}
