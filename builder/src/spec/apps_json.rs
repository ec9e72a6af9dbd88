//! `apps.json`: bench's format, with more keys, such as `commit`, which bench ignores silently.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::app::AppSpec;
use super::environment::Environment;
use super::error::{Origin, SpecError};
use super::file::AppTable;

/// Parses an apps.json. `name` is its name in messages. An empty list is an error: it is rather a mistake in a
/// CI configuration than a request for an image of frappe alone.
pub(super) fn parse(name: &str, text: &str, env: Environment) -> Result<Vec<AppSpec>, SpecError> {
    let document = Origin::document(name, text);
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        let help =
            "an apps.json must be a list: [{\"url\": \"https://host/org/repo\", \"branch\": \"main\"}]";
        json_error(&document, text, 0, &error, help)
    })?;
    if entries.is_empty() {
        let help = "add an app; to build frappe alone, do not pass a list of apps";
        return Err(document.error("the list of apps is empty", help));
    }
    entries.into_iter().map(|entry| parse_entry(&document, text, entry.get(), env)).collect()
}

fn parse_entry(document: &Origin, text: &str, entry: &str, env: Environment) -> Result<AppSpec, SpecError> {
    // serde_json borrows a raw value from the text, so its address gives its position.
    let start = entry.as_ptr() as usize - text.as_ptr() as usize;
    let mut parser = serde_json::Deserializer::from_str(entry);
    let table = AppTable::deserialize(&mut parser).map_err(|error| {
        let help = "docs/spec.md describes every key";
        json_error(document, text, start, &error, help)
    })?;
    table.into_app(document.at(start..start + entry.len()), env)
}

/// The error at its position in `text`. serde_json counts lines and columns from `start`, where the parsed text
/// begins, and columns in bytes.
fn json_error(
    document: &Origin,
    text: &str,
    start: usize,
    error: &serde_json::Error,
    help: &str,
) -> SpecError {
    let lines = text[start..].split_inclusive('\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = start + before + error.column().saturating_sub(1);
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    document.at(at..at + 1).syntax_error(message.to_owned(), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<AppSpec>, String> {
        parse("apps.json", text, &|_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn accepts_the_format_of_bench_and_a_commit() {
        let commit = "c".repeat(40);
        let text = format!(r#"[{{"url": "https://h/o/a", "branch": "main", "commit": "{commit}"}}]"#);
        assert_eq!(read(&text).unwrap()[0].label(), "https://h/o/a");
    }

    #[test]
    fn reports_line_and_column_of_an_error() {
        for (text, message) in [
            ("[\n  {\"url\": }\n]", "apps.json:2:11: expected value"),
            (
                "[\n {\"url\": \"https://h/o/a\",\n  \"brunch\": \"x\"}\n]",
                "apps.json:3:10: unknown field `brunch`",
            ),
            ("{\n}", "apps.json:1:1: invalid type: map"),
            ("[{}]", "apps.json: an app must have"),
            ("[{\"url\": \"https://h/o/a\", \"commit\": \"abc\"}]", "apps.json: failed to parse `abc`"),
            ("[", "apps.json: EOF"),
            ("[]", "apps.json: the list of apps is empty"),
            ("[é]", "apps.json: expected value"),
            ("\n[{\"é\": é}]", "apps.json:2:8: expected value"),
            ("\"apps é", "apps.json: EOF"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
