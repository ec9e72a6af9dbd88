//! Errors in a spec point at their line.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, SourceCode};

/// A text that came from the user, for messages: without the credentials in its URLs.
#[derive(Debug)]
struct Text {
    name: String,
    text: String,
}

/// A place in a spec, an apps.json or a flag.
#[derive(Clone, Debug)]
pub struct Origin {
    text: Arc<Text>,
    span: Range<usize>,
}

impl Origin {
    /// The whole of `text`, which is called `name` in messages.
    pub fn whole(name: &str, text: &str) -> Self {
        let text = Text { name: name.to_owned(), text: mask_credentials(text) };
        let span = 0..text.text.len();
        Self { text: Arc::new(text), span }
    }

    /// A part of the same text; out of bounds means its end.
    pub fn at(&self, span: Range<usize>) -> Self {
        let length = self.text.text.len();
        let span = span.start.min(length)..span.end.min(length);
        Self { text: Arc::clone(&self.text), span }
    }

    /// The key `name` of this app, in TOML or in JSON; the same place where it is not to be found.
    pub fn key(&self, name: &str) -> Self {
        let rest = &self.text.text[self.span.start..];
        // A table of TOML has its keys below its heading, which is all that a span of it covers.
        let is_table = rest.starts_with('[');
        let end = if is_table { rest.find("\n[").unwrap_or(rest.len()) } else { self.span.len() };
        let (quoted, assigned) = (format!("\"{name}\""), format!("\n{name} ="));
        match (is_table, rest[..end].find(&quoted), rest[..end].find(&assigned)) {
            (true, _, Some(at)) => self.at(self.span.start + at + 1..self.span.start + at + 1 + name.len()),
            (false, Some(at), _) => self.at(self.span.start + at..self.span.start + at + quoted.len()),
            _ => self.clone(),
        }
    }

    /// Line and column of the beginning, both from 1.
    fn position(&self) -> (usize, usize) {
        let before = &self.text.text.as_bytes()[..self.span.start];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        (line, before.len() - start + 1)
    }

    /// An error about this place.
    pub fn error(&self, message: impl Into<String>, help: impl Into<String>) -> SpecError {
        SpecError { message: message.into(), help: help.into(), origin: self.clone(), cause: None }
    }

    /// An error of another stage, told about this place: its message, help and causes.
    pub fn wrap(&self, error: impl Diagnostic + Send + Sync + 'static) -> SpecError {
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        SpecError { message: error.to_string(), help, origin: self.clone(), cause: Some(Box::new(error)) }
    }
}

/// Something in the spec that cannot be done as written; names file, line and column, and says
/// what to do.
#[derive(Debug)]
pub struct SpecError {
    message: String,
    help: String,
    origin: Origin,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl std::error::Error for SpecError {
    /// The cause's own cause: its message is already ours.
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
        // A label over several lines hides more than it shows: its first line is enough.
        let text = &self.origin.text.text[self.origin.span.clone()];
        let length = text.lines().next().unwrap_or_default().len();
        let label = LabeledSpan::new(Some("here".to_owned()), self.origin.span.start, length);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Replaces what stands between `://` and `@` in each URL by as many asterisks, so that mirrors
/// in the text stay what they were.
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
    fn credentials_are_masked_in_place() {
        let text = r#"[{"url": "https://u:t@h/x"}, "ssh://git@host/y", "https://plain/@z"]"#;
        let masked = r#"[{"url": "https://***@h/x"}, "ssh://***@host/y", "https://plain/@z"]"#;
        assert_eq!(mask_credentials(text), masked);
        assert_eq!(mask_credentials("a://ü@b"), "a://**@b");
    }

    #[test]
    fn a_key_is_found_in_its_own_app_alone() {
        let toml = "[frappe]\nurl = \"branch = x\"\n[[app]]\nurl = \"u\"\nbranch = \"main\"\n";
        let at = |text: &str, part: &str, key: &str| {
            let start = text.find(part).unwrap();
            Origin::whole("x", text).at(start..start + part.len()).key(key).position()
        };
        assert_eq!(at(toml, "[frappe]", "branch"), (1, 1));
        assert_eq!(at(toml, "[[app]]", "branch"), (5, 1));
        let json = "[{\"url\": \"a\"},\n {\"url\": \"b\"}]";
        assert_eq!(at(json, "{\"url\": \"b\"}", "url"), (2, 3));
        assert_eq!(at(json, "{\"url\": \"b\"}", "branch"), (2, 2));
    }

    #[test]
    fn it_names_the_line_where_there_are_several() {
        let origin = Origin::whole("carafe.toml", "a = 1\nb = 2\n");
        assert_eq!(origin.at(10..11).error("wrong", "").to_string(), "carafe.toml:2:5: wrong");
        let flag = Origin::whole("--frappe-branch", "main");
        assert_eq!(flag.at(99..100).error("wrong", "").to_string(), "--frappe-branch: wrong");
    }
}
