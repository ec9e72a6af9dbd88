//! Untrusted text made safe for terminals and logs.
//!
//! File names, labels, HTTP headers, error bodies and the output of build steps come from people and
//! programs outside of Carafe's trust boundary. What of it reaches a terminal or a log passes
//! through exactly one function of this module:
//!
//! | text | function | length |
//! |---|---|---|
//! | a value that a message quotes: a name, a path, a URL, a header | [`escape`], [`escape_bytes`], [`escape_path`] | [`MAX_VALUE_CHARS`] |
//! | a sentence that another program wrote: an error body, stderr | [`message`], [`message_tail`] | [`MAX_MESSAGE_CHARS`] |
//! | one line of a build step's output | [`output_line`] | as it is |
//! | several lines that are already formatted, with our own colors | [`for_terminal`] | as it is |
//!
//! All of them remove or escape what [`is_unsafe`] reports: control characters (and with them ANSI
//! escape sequences), bidirectional controls and line separators. None of them removes secrets: redact
//! first, because a secret that is cut in half is no longer found.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Maximum length of a quoted value in characters, the ellipsis included.
pub const MAX_VALUE_CHARS: usize = 300;

/// Maximum length of another program's message in characters, the ellipsis included.
pub const MAX_MESSAGE_CHARS: usize = 600;

const ELLIPSIS: char = '…';
const ESCAPE: char = '\x1b';

/// Whether `c` can change more than its own cell of a terminal or its own line of a log: control
/// characters, the bidirectional controls of Unicode (UAX 9), and the line and paragraph separators.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value to be quoted in a message, on one line: unsafe characters are shown as escapes such as
/// `\n` or `\u{1b}`. At most [`MAX_VALUE_CHARS`] long.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(MAX_VALUE_CHARS + 1) {
        push_escaped(&mut escaped, c);
    }
    truncate(&escaped, MAX_VALUE_CHARS).into_owned()
}

/// [`escape`] for bytes: what is not UTF-8 becomes U+FFFD.
pub fn escape_bytes(bytes: &[u8]) -> String {
    const MAX_UTF8_BYTES: usize = 4;
    let enough = bytes.len().min((MAX_VALUE_CHARS + 1) * MAX_UTF8_BYTES);
    escape(&String::from_utf8_lossy(&bytes[..enough]))
}

/// [`escape`] for a path.
pub fn escape_path(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes())
}

/// A message of another program on one line: white space (line ends included) becomes single blanks,
/// ANSI escape sequences and unsafe characters are removed. At most [`MAX_MESSAGE_CHARS`] long.
pub fn message(text: &str) -> String {
    truncate(&one_line(text), MAX_MESSAGE_CHARS).into_owned()
}

/// [`message`], but what is too long loses its beginning: the last lines of a log explain a failure.
pub fn message_tail(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().rev().nth(MAX_MESSAGE_CHARS) {
        None => line,
        // The character after this one is the first to be kept; it gives way to the ellipsis.
        Some((before, c)) => {
            let kept = line[before + c.len_utf8()..].chars().skip(1);
            std::iter::once(ELLIPSIS).chain(kept).collect()
        }
    }
}

/// A line of a build step's output, without its line end: ANSI escape sequences and unsafe characters
/// are removed, tabs stay.
pub fn output_line(text: &str) -> String {
    without_ansi(text, |c| c == '\t' || !is_unsafe(c))
}

/// Formatted text for a terminal: line ends, tabs and ANSI colors (SGR sequences) stay, all other
/// unsafe characters are shown as escapes.
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_unsafe(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\t' => clean.push(c),
            ESCAPE if starts_with_color(&text[at..]) => clean.push(c),
            c => push_escaped(&mut clean, c),
        }
    }
    Cow::Owned(clean)
}

/// At most `max_chars` characters of `text`. What is longer ends with an ellipsis, which counts.
pub fn truncate(text: &str, max_chars: usize) -> Cow<'_, str> {
    if text.char_indices().nth(max_chars).is_none() {
        return Cow::Borrowed(text);
    }
    let kept = text.chars().take(max_chars.saturating_sub(1));
    Cow::Owned(kept.chain([ELLIPSIS]).collect())
}

/// `text` without the queries of the URLs in it: the query of a presigned URL is a credential.
pub fn remove_url_queries(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.fold(String::with_capacity(text.len()), |mut clean, word| {
        match word.find("://").and_then(|scheme| word[scheme..].find('?').map(|query| scheme + query)) {
            None => clean.push_str(word),
            Some(query) => {
                clean.push_str(&word[..query]);
                clean.extend(word.chars().next_back().filter(|last| last.is_whitespace()));
            }
        }
        clean
    })
}

fn push_escaped(text: &mut String, c: char) {
    match is_unsafe(c) {
        true => text.extend(c.escape_default()),
        false => text.push(c),
    }
}

fn one_line(text: &str) -> String {
    let clean = without_ansi(text, |c| c.is_whitespace() || !is_unsafe(c));
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_ansi(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ESCAPE => skip_escape_sequence(&mut rest),
            c if is_kept(c) => clean.push(c),
            _ => {}
        }
    }
    clean
}

/// Skips what follows ESC (ECMA-48): a control sequence up to its final byte, a control string up to
/// BEL or ST, or one or two characters.
fn skip_escape_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|c| matches!(c, '\x40'..='\x7e'));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut previous = ' ';
            rest.find(|&c| c == '\x07' || std::mem::replace(&mut previous, c) == ESCAPE && c == '\\');
        }
        Some('(' | ')' | '*' | '+' | '#' | ' ') => {
            rest.next();
        }
        _ => {}
    }
}

/// Whether `text` starts with a complete SGR sequence: `ESC [`, numbers, `m`.
fn starts_with_color(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return false };
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A string with every kind of unsafe character in it.
    const HOSTILE: &str =
        "a\u{1b}[2J\u{9b}1A\r\u{8}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}b";

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        let shown = "a\\u{1b}[2J\\u{9b}1A\\r\\u{8}\\u{61c}\\u{200e}\\u{200f}\
                     \\u{2028}\\u{2029}\\u{202a}\\u{202e}\\u{2066}\\u{2069}b";
        assert_eq!(escape(HOSTILE), shown);
        assert_eq!(escape_bytes(b"caf\xe9\n"), "caf\u{fffd}\\n");
        assert_eq!(escape_path(Path::new("/tmp/\u{1b}")), "/tmp/\\u{1b}");
        assert_eq!(escape("grüße 日本 ✓"), "grüße 日本 ✓");
    }

    #[test]
    fn limits_the_length_in_characters() {
        let fits = "é".repeat(MAX_VALUE_CHARS);
        assert_eq!(escape(&fits), fits);
        assert_eq!(escape_bytes(fits.as_bytes()), fits);
        let longer = escape_bytes("é".repeat(MAX_VALUE_CHARS + 1).as_bytes());
        assert_eq!(longer.chars().count(), MAX_VALUE_CHARS);
        assert!(longer.ends_with("é…"));
        assert_eq!((truncate("abc", 3), truncate("abcd", 3)), ("abc".into(), "ab…".into()));
        assert_eq!(truncate("abc", 0), "…");
    }

    #[test]
    fn puts_a_message_on_one_line() {
        assert_eq!(message(" red:\r\n\t\u{1b}[31mdenied\u{1b}[0m\u{2028}now\u{7} "), "red: denied now");
        let long = format!("first {} last", "word ".repeat(1000));
        let (head, tail) = (message(&long), message_tail(&long));
        assert!(head.starts_with("first word") && head.ends_with('…'), "{head}");
        assert!(tail.starts_with('…') && tail.ends_with("word last"), "{tail}");
        assert_eq!([head, tail].map(|text| text.chars().count()), [MAX_MESSAGE_CHARS; 2]);
        let fits = "é".repeat(MAX_MESSAGE_CHARS);
        assert_eq!((message(&fits), message_tail(&fits)), (fits.clone(), fits));
    }

    #[test]
    fn removes_escape_sequences_from_output() {
        let line = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x07\x08 \u{9b}2J\tz\x1b(B.";
        assert_eq!(output_line(line), "red ab 2J\tz.");
    }

    #[test]
    fn keeps_only_colors_for_a_terminal() {
        for text in ["plain\n\ttext", "\u{1b}[31;1mred\u{1b}[0m", "ünï ✓", "\u{1b}[m"] {
            assert_eq!(for_terminal(text), text);
        }
        for (text, shown) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\n\u{1b}]0;title\u{7}", "a\n\\u{1b}]0;title\\u{7}"),
            ("a\rb\u{8}\u{9b}1A", "a\\rb\\u{8}\\u{9b}1A"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("\u{1b}[1", "\\u{1b}[1"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(for_terminal(text), shown);
        }
    }

    #[test]
    fn removes_the_queries_of_urls_and_nothing_else() {
        for (text, clean) in [
            ("see https://s3.example.com/b?X-Amz-Signature=abcdef\nnow", "see https://s3.example.com/b\nnow"),
            ("https://a/b?c", "https://a/b"),
            ("really? https://a/b c?d", "really? https://a/b c?d"),
            ("why?https://a/b?c d", "why?https://a/b d"),
        ] {
            assert_eq!(remove_url_queries(text), clean);
        }
    }

    proptest! {
        #[test]
        fn no_unsafe_character_passes(bytes in proptest::collection::vec(any::<u8>(), 0..900), text in ".{0,900}") {
            for line in [escape_bytes(&bytes), escape(&text), message(&text), message_tail(&text)] {
                prop_assert!(!line.contains(is_unsafe), "{line:?}");
                prop_assert!(line.chars().count() <= MAX_MESSAGE_CHARS);
            }
            prop_assert!(!output_line(&text).replace('\t', "").contains(is_unsafe));
        }
    }
}
