//! A clock whose pauses take no time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use carafe_builder::net::retry::Clock;

/// Records the pauses instead of waiting.
#[derive(Default)]
pub struct QuickClock(Mutex<Vec<Duration>>);

impl QuickClock {
    /// The date before the first pause.
    pub const START: SystemTime = SystemTime::UNIX_EPOCH;

    /// All pauses.
    pub fn pauses(&self) -> Vec<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clock for QuickClock {
    fn elapsed(&self) -> Duration {
        self.pauses().iter().sum()
    }

    fn date(&self) -> SystemTime {
        Self::START + self.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pause);
    }
}
