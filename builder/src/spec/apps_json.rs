//! `apps.json`: bench's format, and `commit`, which bench itself ignores without a word.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::app_url::Environment;
use super::file::AppTable;
use super::{AppSpec, Origin, SpecError};

/// Reads a whole apps.json; `name` is for messages.
pub(super) fn parse(name: &str, text: &str, env: Environment) -> Result<Vec<AppSpec>, SpecError> {
    let whole = Origin::whole(name, text);
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        let help = "an apps.json is a list: [{\"url\": \"https://host/org/repo\", \"branch\": \"main\"}]";
        json_error(&whole, text, 0, &error, help)
    })?;
    entries.into_iter().map(|entry| parse_entry(&whole, text, entry.get(), env)).collect()
}

fn parse_entry(whole: &Origin, text: &str, entry: &str, env: Environment) -> Result<AppSpec, SpecError> {
    // serde_json borrows a raw value from the text, so that its address is its place.
    let start = entry.as_ptr() as usize - text.as_ptr() as usize;
    let mut parser = serde_json::Deserializer::from_str(entry);
    let table = AppTable::deserialize(&mut parser).map_err(|error| {
        let help = "an entry has `url` and `branch` as in bench, and `commit`, `path` and others for carafe: see docs/spec.md";
        json_error(whole, text, start, &error, help)
    })?;
    table.into_app(whole.at(start..start + entry.len()), env)
}

/// serde_json counts lines and columns from the beginning of what it was given.
fn json_error(whole: &Origin, text: &str, start: usize, error: &serde_json::Error, help: &str) -> SpecError {
    let lines = text[start..].split_inclusive('\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = start + before + error.column().saturating_sub(1);
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    whole.at(at..at + 1).error(message.to_owned(), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<AppSpec>, String> {
        parse("apps.json", text, &|_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_benchs_format_and_a_commit() {
        let commit = "c".repeat(40);
        let text = format!(r#"[{{"url": "https://h/o/a", "branch": "main", "commit": "{commit}"}}]"#);
        assert_eq!(read(&text).unwrap()[0].label(), "https://h/o/a");
    }

    #[test]
    fn an_error_names_line_and_column() {
        for (text, message) in [
            ("[\n  {\"url\": }\n]", "apps.json:2:11: expected value"),
            (
                "[\n {\"url\": \"https://h/o/a\",\n  \"brunch\": \"x\"}\n]",
                "apps.json:3:10: unknown field `brunch`",
            ),
            ("{\n}", "apps.json:1:1: invalid type: map"),
            ("[{}]", "apps.json: an app needs"),
            ("[{\"url\": \"https://h/o/a\", \"commit\": \"abc\"}]", "apps.json: failed to parse `abc`"),
            ("[", "apps.json: EOF"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
