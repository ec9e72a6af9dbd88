//! Lines to stdout and stderr. A reader that went away (`| head`) is no failure of ours.

use std::fmt::Display;
use std::io::Write;

/// A line of data.
pub fn to_stdout(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line for people.
pub fn to_stderr(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
