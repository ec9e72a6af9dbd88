//! What waiting needs: a clock, how long a read_timeout may be, and who is told. Nobody waits in a test:
//! the clock is a parameter. What is waited out is `retry`'s.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use carafe_builder::progress::Progress;

/// A registry that says nothing for so long has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

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
pub struct RetryPolicy {
    progress: Progress,
    pub(super) clock: Arc<dyn Clock>,
    read_timeout: Duration,
}

impl RetryPolicy {
    /// Up to eight tries within five minutes; `progress` gets a warning for each further one.
    pub fn new(progress: Progress) -> Self {
        Self { progress, clock: Arc::new(SystemClock(Instant::now())), read_timeout: READ_TIMEOUT }
    }

    /// With another clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// A registry that says nothing for so long has failed; one minute unless set. A chunk of a
    /// blob has five times as long to be sent.
    pub fn with_read_timeout(self, read_timeout: Duration) -> Self {
        Self { read_timeout, ..self }
    }

    /// Tells of a failure that is dealt with.
    pub(super) fn warn(&self, message: String) {
        self.progress.warn(message);
    }

    pub(super) fn read_timeout(&self) -> Duration {
        self.read_timeout
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(Progress::silent())
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("read_timeout", &self.read_timeout).finish_non_exhaustive()
    }
}
