//! The header `Retry-After`, in both its forms.

use std::time::{Duration, SystemTime};

use super::retry::RetryAfter;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds, or a date as RFC 9110 wants it written; none for anything else.
pub(super) fn parse(value: &str) -> Option<RetryAfter> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(RetryAfter::Pause(Duration::from_secs(seconds)));
    }
    parse_date(value).map(RetryAfter::Date)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`. The two obsolete forms are not known.
fn parse_date(value: &str) -> Option<SystemTime> {
    let (_weekday, rest) = value.strip_suffix(" GMT")?.split_once(", ")?;
    let [day, month, year, time] = rest.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>().try_into().ok()?;
    let within = |text: &str, limit: u64| text.parse().ok().filter(|number| *number < limit);
    let (day, year) = (within(day, 32)?, within(year, 10_000)?);
    let clock = within(hour, 24)? * 3600 + within(minute, 60)? * 60 + within(second, 61)?;
    let seconds = days_since_1970(year, month, day)?.checked_mul(86_400)?.checked_add(clock)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// In the Gregorian calendar. A year is counted from March, so that its leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: u64) -> Option<RetryAfter> {
        Some(RetryAfter::Date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse(" 120 "), Some(RetryAfter::Pause(Duration::from_secs(120))));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), date(784_111_777));
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT"), date(0));
        assert_eq!(parse("Thu, 29 Feb 2024 23:59:59 GMT"), date(1_709_251_199));
    }

    #[test]
    fn anything_else_is_ignored() {
        for text in [
            "",
            "-1",
            "soon",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1869 08:49:37 GMT",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
