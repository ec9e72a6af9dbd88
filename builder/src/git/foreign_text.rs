//! Text that a server or a git process printed, made safe to show.

use carafe_layers::text::message_tail;

use crate::secret::Redactor;

/// The text in one line, without secrets and control characters. Of a longer text the end is shown:
/// programs print the cause last.
pub(super) fn printable(text: &str, redactor: &Redactor) -> String {
    let text = redactor.redact(text);
    let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    message_tail(&lines.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::text::MAX_MESSAGE_CHARS;

    use crate::secret::Secret;

    #[test]
    fn is_one_line_without_secrets_and_control_characters() {
        let redactor = Redactor::new([Secret::new("t0ken22")]);
        let text = "\x1b[31mfatal: t0ken22\r\n\n  remote: no \n";
        assert_eq!(printable(text, &redactor), "fatal: ***; remote: no");
    }

    #[test]
    fn keeps_the_end_of_a_long_text() {
        let text = format!("{}end", "x".repeat(10_000));
        let shown = printable(&text, &Redactor::default());
        assert!(shown.ends_with("xend") && shown.chars().count() == MAX_MESSAGE_CHARS);
    }
}
