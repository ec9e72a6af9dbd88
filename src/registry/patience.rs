//! What waiting needs: a clock, how long a silence may be, and who is told. Nobody waits in a test:
//! the clock is a parameter. What is waited out is `retry`'s.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use carafe_builder::progress::Progress;

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
    pub(super) clock: Arc<dyn Clock>,
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
