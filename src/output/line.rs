//! The columns that every style shares: what a task is called, how long it took, what came of it.

use std::time::Duration;

use carafe_builder::progress::{Stage, Unit};
use carafe_builder::spec::format_bytes;
use console::{measure_text_width, truncate_str};

use super::label;

/// Columns of the longest stage's name and the gap behind it.
const STAGE: usize = 6;
/// Columns of a task's name, where there is room.
pub const NAME: usize = 30;
/// Columns of a name on the narrowest terminal.
pub const NARROW_NAME: usize = 10;

/// A stage and a name, in `STAGE + name_width` columns.
pub fn title(stage: Stage, name: &str, name_width: usize) -> String {
    format!("{:<STAGE$}{}", label(stage), fit(name, name_width))
}

/// What is left of a task that ended.
pub fn ended(title: &str, elapsed: Duration, summary: &str) -> String {
    format!("{title} {:>7}  {summary}", clock(elapsed))
}

/// A text in exactly so many columns: filled up, or cut with a mark at its end.
pub fn fit(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(measure_text_width(&text));
    text + &" ".repeat(missing)
}

/// A text in at most so many columns.
pub fn cut(text: &str, columns: usize) -> String {
    truncate_str(text, columns, "…").into_owned()
}

/// A time in at most seven columns, below a hundred hours.
pub fn clock(elapsed: Duration) -> String {
    let (seconds, tenths) = (elapsed.as_secs(), elapsed.subsec_millis() / 100);
    match seconds {
        0..60 => format!("{seconds}.{tenths} s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How far a task is.
pub fn amount(unit: Unit, done: u64, total: Option<u64>) -> String {
    let show = |number: u64| match unit {
        Unit::Bytes => format_bytes(number),
        Unit::Items => number.to_string(),
    };
    match total {
        Some(total) => format!("{} of {}", show(done), show(total)),
        None if done == 0 => String::new(),
        None => show(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fill_their_column_and_no_more() {
        assert_eq!(fit("env", 6), "env   ");
        assert_eq!(fit("node_modules/frappe", 12), "node_module…");
        // Two columns each: the cut may leave one free, which is filled.
        assert_eq!(fit("中文名字", 6), "中文… ");
        assert_eq!(fit("", 3), "   ");
        assert_eq!(title(Stage::Pack, "assets", 8), "pack  assets  ");
    }

    #[test]
    fn times_are_short() {
        let shown = [0, 9_960, 59_999, 60_000, 754_000, 3_600_000, 359_999_000];
        let shown = shown.map(|milliseconds| clock(Duration::from_millis(milliseconds)));
        assert_eq!(shown, ["0.0 s", "9.9 s", "59.9 s", "1m 00s", "12m 34s", "1h 00m", "99h 59m"]);
    }

    #[test]
    fn amounts_are_what_people_count_in() {
        assert_eq!(amount(Unit::Bytes, 12_300_000, Some(148_000_000)), "12 MB of 148 MB");
        assert_eq!(amount(Unit::Items, 2, Some(3)), "2 of 3");
        assert_eq!(amount(Unit::Bytes, 0, None), "");
    }
}
