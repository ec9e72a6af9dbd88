//! Lines to stdout and stderr. A reader that went away (`| head`) is no failure of ours.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// A line of data, or several, that strangers wrote (an image's label): as it is for a program, as
/// [`to_stderr`] writes it for a terminal.
pub fn foreign_to_stdout(text: &str) {
    let is_terminal = std::io::stdout().is_terminal();
    to_stdout(if is_terminal { harmless(text) } else { Cow::Borrowed(text) });
}

/// A line of data.
pub fn to_stdout(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line for people, or several. What strangers wrote may be in it (a key that a parser did not
/// know, a step's output): a terminal obeys nothing of it but colours.
pub fn to_stderr(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless(&line.to_string()));
}

/// With all control characters escaped but for line ends, tabs, and those that begin a colour; and
/// with those escaped that turn the direction of writing, and show a text as another one.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_foul = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || c.is_control() && !matches!(c, '\n' | '\t')
    };
    if !text.contains(is_foul) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for (place, c) in text.char_indices() {
        match c {
            '\u{1b}' if begins_colour(&text[place..]) => clean.push(c),
            c if is_foul(c) => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// `ESC [ … m`, with nothing but numbers between (ECMA-48's SGR).
fn begins_colour(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return false };
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_but_colours() {
        for text in ["plain\n\ttext", "\u{1b}[31;1mred\u{1b}[0m", "ünï ✓", "\u{1b}[m"] {
            assert_eq!(harmless(text), text);
        }
        for (text, shown) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{1b}]0;title\u{7}", "a\\u{1b}]0;title\\u{7}"),
            ("a\rb\u{8}\u{9b}1A", "a\\rb\\u{8}\\u{9b}1A"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{1b}[1", "\\u{1b}[1"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }
}
