//! Times as an image's documents write them. There is no clock here.

use jiff::SignedDuration;
use jiff::civil::DateTime;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Seconds since 1970 (UTC) as RFC 3339 text, such as `2026-11-21T10:50:56Z`; `None` for years
/// before 0 and after 9999, which RFC 3339 cannot express.
pub fn rfc3339(epoch: i64) -> Option<String> {
    let time = EPOCH.checked_add(SignedDuration::from_secs(epoch)).ok()?;
    (time.year() >= 0).then(|| format!("{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_known_times() {
        // The first second of the year 0 and the last one of the year 9999.
        const MIN: i64 = -62_167_219_200;
        const MAX: i64 = 253_402_300_799;
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
        for outside in [MIN - 1, MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(rfc3339(outside), None);
        }
    }
}
