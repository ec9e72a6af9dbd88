//! Times as an image's documents write them. There is no clock here.

/// The last second of the year 9999, after which RFC 3339 has no more digits.
const MAX: i64 = 253_402_300_799;
/// The first second of the year 0.
const MIN: i64 = -62_167_219_200;

/// Seconds since 1970 (UTC) as RFC 3339 text, such as `2026-11-21T10:50:56Z`; none for years
/// before 0 and after 9999.
pub fn rfc3339(epoch: i64) -> Option<String> {
    if !(MIN..=MAX).contains(&epoch) {
        return None;
    }
    let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// Counted in years that begin in March, so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    // 0000-03-01 is this many days before 1970-01-01.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (crate::format::FIXED_MTIME, "1980-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_258_256, "2026-11-21T10:50:56Z"),
            (MIN, "0000-01-01T00:00:00Z"),
            (MAX, "9999-12-31T23:59:59Z"),
        ];
        for (epoch, text) in known {
            assert_eq!(rfc3339(epoch).as_deref(), Some(text));
        }
        assert_eq!((rfc3339(MIN - 1), rfc3339(MAX + 1)), (None, None));
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil_from_days(MIN / 86_400);
        for day in MIN / 86_400 + 1..=MAX / 86_400 {
            let (year, month, day) = civil_from_days(day);
            let next = (before.0, before.1, before.2 + 1);
            let first = if before.1 == 12 { (before.0 + 1, 1, 1) } else { (before.0, before.1 + 1, 1) };
            assert!((year, month, day) == next || (year, month, day) == first, "{before:?}");
            assert!((1..=31).contains(&day) && (day > 28 || (year, month, day) != first || before.2 >= 28));
            before = (year, month, day);
        }
        assert_eq!(before, (9999, 12, 31));
    }
}
