//! Errors of a spec, with their file, line and column.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, SourceCode};

/// A text from the user, for messages: the credentials in its URLs are masked.
#[derive(Debug)]
struct Text {
    name: String,
    text: String,
}

/// A position in a spec, an apps.json or the value of a flag.
#[derive(Clone, Debug)]
pub struct Origin {
    text: Arc<Text>,
    span: Range<usize>,
}

impl Origin {
    /// The complete `text`, which messages call `name`.
    pub fn document(name: &str, text: &str) -> Self {
        let text = Text { name: name.to_owned(), text: mask_credentials(text) };
        let span = 0..text.text.len();
        Self { text: Arc::new(text), span }
    }

    /// A part of the same text, as a range of bytes. It is clamped to the text, and extended to complete
    /// characters.
    pub fn at(&self, span: Range<usize>) -> Self {
        let text = &self.text.text;
        let span = text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end);
        Self { text: Arc::clone(&self.text), span }
    }

    /// The key `name` of the app at this position, in TOML or JSON. This position if the app does not have it.
    pub fn key(&self, name: &str) -> Self {
        let rest = &self.text.text[self.span.start..];
        // The span of a TOML table covers its header only; its keys are below.
        let is_table = rest.starts_with('[');
        let end = if is_table { rest.find("\n[").unwrap_or(rest.len()) } else { self.span.len() };
        let (quoted, assigned) = (format!("\"{name}\""), format!("\n{name} ="));
        match (is_table, rest[..end].find(&quoted), rest[..end].find(&assigned)) {
            (true, _, Some(at)) => self.at(self.span.start + at + 1..self.span.start + at + 1 + name.len()),
            (false, Some(at), _) => self.at(self.span.start + at..self.span.start + at + quoted.len()),
            _ => self.clone(),
        }
    }

    /// Line and column of the start, both counted from 1, the column in characters.
    fn position(&self) -> (usize, usize) {
        let before = &self.text.text[..self.span.start];
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[line_start..].chars().count() + 1)
    }

    /// An error about the syntax at this position. If there is a typographic quotation mark, which word
    /// processors insert, the help is about it.
    pub(super) fn syntax_error(&self, message: impl Into<String>, help: &str) -> SpecError {
        let quotes = ['“', '”', '„', '‘', '’', '«', '»'];
        let text = &self.text.text[self.span.clone()];
        match text.lines().next().unwrap_or_default().chars().find(|character| quotes.contains(character)) {
            Some(quote) => self.error(message, format!("replace the quotation mark `{quote}` by `\"`")),
            None => self.error(message, help),
        }
    }

    /// An error about this position.
    pub fn error(&self, message: impl Into<String>, help: impl Into<String>) -> SpecError {
        SpecError { message: message.into(), help: help.into(), origin: self.clone(), cause: None }
    }

    /// An error of another module, about this position: with its message, help and causes.
    pub fn wrap(&self, error: impl Diagnostic + Send + Sync + 'static) -> SpecError {
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        SpecError { message: error.to_string(), help, origin: self.clone(), cause: Some(Box::new(error)) }
    }
}

/// An error in the spec. Its message starts with the file (or flag), line and column, and its help has the next
/// action.
#[derive(Debug)]
pub struct SpecError {
    message: String,
    help: String,
    origin: Origin,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl std::error::Error for SpecError {
    /// The source of the wrapped error, whose own message is the message of this one.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref()?.source()
    }
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, column) = self.origin.position();
        match self.origin.text.text.contains('\n') {
            true => write!(f, "{}:{line}:{column}: {}", self.origin.text.name, self.message),
            false => write!(f, "{}: {}", self.origin.text.name, self.message),
        }
    }
}

impl Diagnostic for SpecError {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.origin.text.text.is_empty()).then_some(&self.origin.text.text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.origin.text.text.is_empty() {
            return None;
        }
        // Only the first line: a label over several lines is hard to read.
        let text = &self.origin.text.text[self.origin.span.clone()];
        let length = text.lines().next().unwrap_or_default().len();
        let label = LabeledSpan::new(Some("here".to_owned()), self.origin.span.start, length);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Replaces the text between `://` and `@` in each URL by asterisks, one for each byte, so that byte positions
/// in the text do not change.
fn mask_credentials(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let ends = |byte: &u8| matches!(byte, b'/' | b'"' | b'\'' | b',') || byte.is_ascii_whitespace();
        let end = bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
        if let Some(length) = bytes[start..end].iter().rposition(|&byte| byte == b'@') {
            bytes[start..start + length].fill(b'*');
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_credentials_in_place() {
        let text = r#"[{"url": "https://u:t@h/x"}, "ssh://git@host/y", "https://plain/@z"]"#;
        let masked = r#"[{"url": "https://***@h/x"}, "ssh://***@host/y", "https://plain/@z"]"#;
        assert_eq!(mask_credentials(text), masked);
        assert_eq!(mask_credentials("a://ü@b"), "a://**@b");
    }

    #[test]
    fn finds_a_key_in_its_own_app_only() {
        let toml = "[frappe]\nurl = \"branch = x\"\n[[app]]\nurl = \"u\"\nbranch = \"main\"\n";
        let at = |text: &str, part: &str, key: &str| {
            let start = text.find(part).unwrap();
            Origin::document("x", text).at(start..start + part.len()).key(key).position()
        };
        assert_eq!(at(toml, "[frappe]", "branch"), (1, 1));
        assert_eq!(at(toml, "[[app]]", "branch"), (5, 1));
        let json = "[{\"url\": \"a\"},\n {\"url\": \"b\"}]";
        assert_eq!(at(json, "{\"url\": \"b\"}", "url"), (2, 3));
        assert_eq!(at(json, "{\"url\": \"b\"}", "branch"), (2, 2));
    }

    #[test]
    fn has_the_position_in_a_text_with_several_lines() {
        let origin = Origin::document("carafe.toml", "a = 1\nb = 2\n");
        assert_eq!(origin.at(10..11).error("wrong", "").to_string(), "carafe.toml:2:5: wrong");
        let flag = Origin::document("--frappe-branch", "main");
        assert_eq!(flag.at(99..100).error("wrong", "").to_string(), "--frappe-branch: wrong");
    }

    /// Any text before, at and after the position, at every byte of it.
    #[test]
    fn renders_positions_in_text_that_is_not_ascii() {
        for text in
            ["é", "[é]", "\"apps é", "“a”", "a\né\n😀", "https://ü:😀@h/é", "e\u{301}\n\u{301}", "😀😀\r\né"]
        {
            let origin = Origin::document("apps.json", text);
            for start in 0..text.len() + 2 {
                for length in [0, 1, 2, 100] {
                    let error = origin.at(start..start + length).error("wrong", "help");
                    let report = format!("{:?}", miette::Report::new(error));
                    assert!(report.contains("wrong"), "{text:?} {start} {length}: {report}");
                }
            }
        }
    }

    #[test]
    fn counts_columns_in_characters() {
        let origin = Origin::document("carafe.toml", "é = 1\näöü = x\n");
        assert_eq!(origin.at(16..17).error("wrong", "").to_string(), "carafe.toml:2:7: wrong");
    }
}
