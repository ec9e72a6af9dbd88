//! Durations and sizes in the notation of specs and messages.

use std::fmt;
use std::time::Duration;

/// A number of bytes. Its notations are `512MiB`, `4GiB`, `4G` (1024-based) and a plain number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Parses a size. `None` if it is invalid or zero.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return None,
        };
        number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_bytes(self.0))
    }
}

/// Parses a duration: `90s`, `15m`, `2h`. `None` if it is invalid or zero.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|&seconds| seconds > 0).map(Duration::from_secs)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

/// Formats a number of bytes for people: up to three digits and a 1000-based unit, as registries do.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes_and_durations() {
        assert_eq!(ByteSize::parse("4GiB"), Some(ByteSize(4 << 30)));
        assert_eq!(ByteSize::parse("512 m"), Some(ByteSize(512 << 20)));
        for text in ["", "0", "GiB", "4XB", "-1", "99999999999T"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        for text in ["", "5", "0m", "1d", "x"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn formats_sizes_with_their_unit() {
        let formatted = [0, 999, 1000, 9_949_999, 10_000_000, 1_750_000_000].map(format_bytes);
        assert_eq!(formatted, ["0 B", "999 B", "1.0 kB", "9.9 MB", "10 MB", "1.8 GB"]);
    }
}
