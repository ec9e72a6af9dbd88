//! When a server is asked again: pauses of our own choice, and those that it asks for.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// When a server says that it wants to be asked again: the header `Retry-After`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryAfter {
    /// So much later.
    Pause(Duration),
    /// At that time of day.
    Date(SystemTime),
}

impl RetryAfter {
    /// The value of the header, in any of its forms; none for anything else.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Self::Pause(Duration::from_secs(seconds)));
        }
        httpdate::parse_http_date(value).ok().map(Self::Date)
    }

    /// How long to wait from `now`; nothing if the time has passed.
    pub fn pause(self, now: SystemTime) -> Duration {
        match self {
            Self::Pause(pause) => pause,
            Self::Date(date) => date.duration_since(now).unwrap_or_default(),
        }
    }
}

/// The pause after so many failures (from 1): `first`, doubled for each further one up to
/// `longest`, and between half and all of it by chance, so that many clients do not come at once.
pub fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    backoff_by(failures, first, longest, RandomState::new().hash_one(0))
}

fn backoff_by(failures: u32, first: Duration, longest: Duration, chance: u64) -> Duration {
    let full = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    full / 2 + (full / 2).mul_f64((chance % 1024) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        let pause = |failures, chance| backoff_by(failures, first, longest, chance);
        assert_eq!(pause(1, 0), first / 2);
        assert_eq!(pause(2, 0), first);
        assert!(pause(3, 1023) > pause(3, 0) && pause(3, 1023) < first * 4);
        assert_eq!(pause(u32::MAX, 0), longest / 2);
    }

    #[test]
    fn a_date_that_has_passed_is_no_pause() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let at = |seconds| RetryAfter::Date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(130).pause(now), Duration::from_secs(30));
        assert_eq!(at(70).pause(now), Duration::ZERO);
    }

    #[test]
    fn both_forms_are_read_and_anything_else_is_ignored() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(RetryAfter::parse(" 120 "), Some(RetryAfter::Pause(Duration::from_secs(120))));
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::Date(date)));
        for text in ["", "-1", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "99999999999999999999"] {
            assert_eq!(RetryAfter::parse(text), None, "{text}");
        }
    }
}
