//! When a failed request is sent again.
//!
//! [`RetryPolicy`] has the limits, [`RetryState`] counts the failures of one request and computes
//! the pause before the next attempt, and [`Clock`] is the time that both go by. `RetryState` does
//! not wait: blocking callers wait with [`Clock::sleep`], asynchronous callers with their runtime.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

/// How long one request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Maximum time to open a connection, including the TLS handshake.
    pub connect: Duration,
    /// Maximum time without a byte from the server.
    pub read: Duration,
}

impl Default for Timeouts {
    /// 30 seconds to connect, 60 seconds without a byte.
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), read: Duration::from_secs(60) }
    }
}

/// The limits of the attempts of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Maximum number of attempts, including the first one.
    pub max_attempts: u32,
    /// The maximum for an endpoint that is probably wrong or can be replaced: a host to which no
    /// connection was ever made (its name may be misspelled), or a mirror (another endpoint
    /// follows).
    pub max_attempts_unproven: u32,
    /// No attempt starts later than this after the first failure. `None`: no limit.
    pub budget: Option<Duration>,
    /// The pause before the second attempt. It doubles before each further attempt.
    pub first_backoff: Duration,
    /// Maximum pause of our own choice. A server may request a longer one with `Retry-After`.
    pub max_backoff: Duration,
    /// A server that requests a longer pause than this has failed. `None`: no limit except `budget`.
    pub max_retry_after: Option<Duration>,
    /// The timeouts of each attempt.
    pub timeouts: Timeouts,
}

impl Default for RetryPolicy {
    /// Eight attempts within five minutes, three for unproven endpoints, pauses of 0.5 to 30 seconds.
    fn default() -> Self {
        Self {
            max_attempts: 8,
            max_attempts_unproven: 3,
            budget: Some(Duration::from_secs(5 * 60)),
            first_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            max_retry_after: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// Time, as far as retries need it. Tests replace it, so that no test waits.
pub trait Clock: Send + Sync {
    /// The time since some fixed moment. It never decreases.
    fn elapsed(&self) -> Duration;
    /// The date, for a `Retry-After` that has one.
    fn date(&self) -> SystemTime;
    /// Blocks this thread.
    fn sleep(&self, pause: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Its `elapsed` starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

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

/// Why a request is not sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GaveUp {
    /// The maximum number of attempts, or the time budget, is used up.
    Exhausted,
    /// The server requests this pause, which is longer than the policy allows.
    RetryAfter(Duration),
}

/// The failed attempts of one request.
#[derive(Clone, Copy, Default, Debug)]
pub struct RetryState {
    failures: u32,
    first_failure: Option<Duration>,
}

impl RetryState {
    /// The number of failed attempts.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and returns the pause before the next attempt: that of the policy or that
    /// of `Retry-After`, whichever is longer. `max_attempts` is one of the policy's two maxima.
    pub fn next(
        &mut self,
        policy: &RetryPolicy,
        max_attempts: u32,
        clock: &dyn Clock,
        retry_after: Option<RetryAfter>,
    ) -> Result<Duration, GaveUp> {
        let now = clock.elapsed();
        let first_failure = *self.first_failure.get_or_insert(now);
        self.failures += 1;
        if self.failures >= max_attempts {
            return Err(GaveUp::Exhausted);
        }
        let requested = retry_after.map(|after| after.pause(clock.date())).unwrap_or_default();
        if policy.max_retry_after.is_some_and(|max| requested > max) {
            return Err(GaveUp::RetryAfter(requested));
        }
        let pause = backoff(self.failures, policy.first_backoff, policy.max_backoff).max(requested);
        let next_attempt = now.saturating_sub(first_failure).saturating_add(pause);
        match policy.budget.is_some_and(|budget| next_attempt > budget) {
            true => Err(GaveUp::Exhausted),
            false => Ok(pause),
        }
    }
}

/// When a server requests to be sent the request again: the header `Retry-After`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryAfter {
    /// After this time.
    Pause(Duration),
    /// At this date.
    Date(SystemTime),
}

impl RetryAfter {
    /// Parses the value of the header, in any of its forms. `None` for anything else.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Self::Pause(Duration::from_secs(seconds)));
        }
        httpdate::parse_http_date(value).ok().map(Self::Date)
    }

    /// The time to wait from `now`; zero if the date has passed.
    pub fn pause(self, now: SystemTime) -> Duration {
        match self {
            Self::Pause(pause) => pause,
            Self::Date(date) => date.duration_since(now).unwrap_or_default(),
        }
    }
}

/// The pause after this many failures (at least 1): `first`, doubled for each further failure up to
/// `max`, and reduced by a random part of up to a half, so that many clients do not retry at the
/// same time.
pub fn backoff(failures: u32, first: Duration, max: Duration) -> Duration {
    backoff_with(failures, first, max, RandomState::new().hash_one(0))
}

fn backoff_with(failures: u32, first: Duration, max: Duration, random: u64) -> Duration {
    let full = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max);
    full / 2 + (full / 2).mul_f64((random % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is fixed at a number of seconds.
    struct At(u64);

    impl Clock for At {
        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0)
        }

        fn date(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + self.elapsed()
        }

        fn sleep(&self, _: Duration) {}
    }

    fn seconds(pause: u64) -> Option<RetryAfter> {
        Some(RetryAfter::Pause(Duration::from_secs(pause)))
    }

    #[test]
    fn gives_up_after_the_maximum_number_of_attempts() {
        let policy = RetryPolicy::default();
        for max_attempts in [policy.max_attempts, policy.max_attempts_unproven] {
            let mut state = RetryState::default();
            for _ in 1..max_attempts {
                assert!(state.next(&policy, max_attempts, &At(0), None).is_ok());
            }
            assert_eq!(state.next(&policy, max_attempts, &At(0), None), Err(GaveUp::Exhausted));
            assert_eq!(state.failures(), max_attempts);
        }
    }

    #[test]
    fn starts_no_attempt_after_the_budget() {
        let policy = RetryPolicy::default();
        let mut state = RetryState::default();
        assert!(state.next(&policy, 8, &At(1000), None).is_ok());
        assert_eq!(state.next(&policy, 8, &At(1200), seconds(100)), Ok(Duration::from_secs(100)));
        assert_eq!(state.next(&policy, 8, &At(1200), seconds(101)), Err(GaveUp::Exhausted));
        assert_eq!(state.next(&policy, 8, &At(1301), None), Err(GaveUp::Exhausted));
    }

    #[test]
    fn waits_as_long_as_the_server_requests_up_to_a_limit() {
        let limit = Duration::from_secs(30);
        let policy = RetryPolicy { max_retry_after: Some(limit), ..RetryPolicy::default() };
        let mut state = RetryState::default();
        assert_eq!(state.next(&policy, 8, &At(0), seconds(30)), Ok(limit));
        let too_long = Err(GaveUp::RetryAfter(Duration::from_secs(31)));
        assert_eq!(state.next(&policy, 8, &At(0), seconds(31)), too_long);
        let date = Some(RetryAfter::Date(SystemTime::UNIX_EPOCH + Duration::from_secs(31)));
        assert_eq!(state.next(&policy, 8, &At(0), date), too_long);
        assert_eq!(state.next(&policy, 8, &At(1), date), Ok(limit));
    }

    #[test]
    fn backoff_doubles_up_to_a_maximum_and_is_random() {
        let (first, max) = (Duration::from_millis(500), Duration::from_secs(30));
        let pause = |failures, random| backoff_with(failures, first, max, random);
        assert_eq!(pause(1, 0), first / 2);
        assert_eq!(pause(2, 0), first);
        assert!(pause(3, 1023) > pause(3, 0) && pause(3, 1023) < first * 4);
        assert_eq!(pause(u32::MAX, 0), max / 2);
    }

    #[test]
    fn a_date_in_the_past_is_no_pause() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let at = |seconds| RetryAfter::Date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(130).pause(now), Duration::from_secs(30));
        assert_eq!(at(70).pause(now), Duration::ZERO);
    }

    #[test]
    fn parses_seconds_and_dates_and_ignores_anything_else() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(RetryAfter::parse(" 120 "), Some(RetryAfter::Pause(Duration::from_secs(120))));
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::Date(date)));
        for text in ["", "-1", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "99999999999999999999"] {
            assert_eq!(RetryAfter::parse(text), None, "{text}");
        }
    }
}
