//! stdout and stderr. A reader that closed one of them (`| head`) is not an error of ours.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes lines to stdout; nothing if `text` is empty. Untrusted input may be in them (an image's
/// label): a program reads it unchanged, a terminal gets it as from [`to_stderr`].
pub fn to_stdout(text: &str) -> io::Result<()> {
    let text = text.trim_end_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let text = if stdout.is_terminal() { escape_controls(text) } else { Cow::Borrowed(text) };
    writeln!(stdout, "{text}")
}

/// Writes lines for people to stderr. Untrusted input may be in them (a key that a parser did not
/// recognize, the output of a step): no control sequence but colors reaches the terminal.
pub fn to_stderr(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", escape_controls(&text.to_string()));
}

/// Escapes all control characters except line feeds, tabs and those that begin a color, and the
/// bidirectional controls, which make a text look like another one.
fn escape_controls(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        let is_bidirectional = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_bidirectional || c.is_control() && !matches!(c, '\n' | '\t')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\u{1b}' if begins_color(&text[at..]) => escaped.push(c),
            c if is_unsafe(c) => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// `ESC [ … m` with only numbers between: SGR, "select graphic rendition" in ECMA-48.
fn begins_color(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return false };
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colors_reach_a_terminal() {
        for text in ["plain\n\ttext", "\u{1b}[31;1mred\u{1b}[0m", "ünï ✓", "\u{1b}[m"] {
            assert_eq!(escape_controls(text), text);
        }
        for (text, shown) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{1b}]0;title\u{7}", "a\\u{1b}]0;title\\u{7}"),
            ("a\rb\u{8}\u{9b}1A", "a\\rb\\u{8}\\u{9b}1A"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{1b}[1", "\\u{1b}[1"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(escape_controls(text), shown);
        }
    }
}
