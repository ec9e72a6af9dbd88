//! stdout and stderr. A reader that closed one of them (`| head`) is not an error of ours.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use carafe_layers::text::for_terminal;

/// Writes lines to stdout; nothing if `text` is empty. Untrusted input may be in them (an image's
/// label): a program reads it unchanged, a terminal gets it as from [`to_stderr`].
pub fn to_stdout(text: &str) -> io::Result<()> {
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let text = if stdout.is_terminal() { for_terminal(text) } else { Cow::Borrowed(text) };
    writeln!(stdout, "{text}")
}

/// Writes lines for people to stderr. Untrusted input may be in them (a key that a parser did not
/// recognize, the output of a step): no control sequence but colors reaches the terminal.
pub fn to_stderr(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", for_terminal(&text.to_string()));
}
