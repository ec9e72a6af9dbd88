//! The columns of progress lines: a task's stage and name, its duration, its amount or summary.

use std::time::Duration;

use carafe_builder::progress::{Stage, Unit};
use carafe_builder::spec::format_bytes;
use console::{measure_text_width, truncate_str};

/// Columns of the longest stage's name and the gap after it.
const STAGE_WIDTH: usize = 6;
/// Columns of a task's name on a terminal that is wide enough.
pub const NAME_WIDTH: usize = 30;
/// Columns of a task's name on the narrowest terminal.
pub const MIN_NAME_WIDTH: usize = 10;

/// A stage's name, for people and for programs.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Lock => "lock",
        Stage::Fetch => "fetch",
        Stage::Build => "build",
        Stage::Pack => "pack",
        Stage::Push => "push",
    }
}

/// A stage and a name, in `STAGE_WIDTH + name_width` columns.
pub fn title(stage: Stage, name: &str, name_width: usize) -> String {
    format!("{:<STAGE_WIDTH$}{}", stage_name(stage), fit(name, name_width))
}

/// The line of a task that ended.
pub fn ended(title: &str, elapsed: Duration, summary: &str) -> String {
    format!("{title} {:>7}  {summary}", elapsed_time(elapsed))
}

/// A text in exactly this many columns: padded, or truncated with an ellipsis.
pub fn fit(text: &str, columns: usize) -> String {
    let text = truncate(text, columns);
    let missing = columns.saturating_sub(measure_text_width(&text));
    text + &" ".repeat(missing)
}

/// A text in at most this many columns.
pub fn truncate(text: &str, columns: usize) -> String {
    truncate_str(text, columns, "…").into_owned()
}

/// A duration in at most seven columns if it is less than 100 hours.
pub fn elapsed_time(elapsed: Duration) -> String {
    let (seconds, tenths) = (elapsed.as_secs(), elapsed.subsec_millis() / 100);
    match seconds {
        0..60 => format!("{seconds}.{tenths} s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// What a task has done, of its total if that is known.
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
    fn names_fill_their_column_exactly() {
        assert_eq!(fit("env", 6), "env   ");
        assert_eq!(fit("node_modules/frappe", 12), "node_module…");
        // Two columns each: truncation may leave one free, which is padded.
        assert_eq!(fit("中文名字", 6), "中文… ");
        assert_eq!(fit("", 3), "   ");
        assert_eq!(title(Stage::Pack, "assets", 8), "pack  assets  ");
    }

    #[test]
    fn durations_are_short() {
        let shown = [0, 9_960, 59_999, 60_000, 754_000, 3_600_000, 359_999_000];
        let shown = shown.map(|milliseconds| elapsed_time(Duration::from_millis(milliseconds)));
        assert_eq!(shown, ["0.0 s", "9.9 s", "59.9 s", "1m 00s", "12m 34s", "1h 00m", "99h 59m"]);
    }

    #[test]
    fn bytes_have_units_and_items_have_none() {
        assert_eq!(amount(Unit::Bytes, 12_300_000, Some(148_000_000)), "12 MB of 148 MB");
        assert_eq!(amount(Unit::Items, 2, Some(3)), "2 of 3");
        assert_eq!(amount(Unit::Bytes, 0, None), "");
    }
}
