//! Source maps of stylesheets that were processed in a temporary directory.

use std::collections::BTreeMap;

use serde_json::Value;

/// Minimum length, in hexadecimal digits, of the generated name of a subdirectory: a time and a counter.
const UNIQUE_ID_DIGITS: usize = 12;

/// Returns the map without temporary directories in its `sources` and with sorted members, and the names of these
/// directories. The error is the reason for which the map is not supported.
pub(super) fn normalize(text: &str) -> Result<(String, Vec<String>), String> {
    let mut map: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("it is not a source map: {error}"))?;
    let sources = map.get_mut("sources").and_then(Value::as_array_mut).ok_or("it has no `sources`")?;
    let mut temporary = Vec::new();
    for source in sources {
        let path = source.as_str().ok_or("one of its `sources` is not a string")?;
        if let Some((directory, rest)) = split_temporary(path) {
            temporary.push(directory.to_owned());
            *source = Value::String(rest.to_owned());
        }
    }
    temporary.sort();
    temporary.dedup();
    let text = serde_json::to_string(&map).map_err(|error| error.to_string())?;
    Ok((text, temporary))
}

/// Splits `../../tmp/tmp-6948-M7FlkMsOujHA/frappe/…/desk.bundle.css` into the random directory's name
/// and the path of the file below it. An imported file is in a further generated directory,
/// `1a1fdd1ddd60/shared.css`, which is removed too.
fn split_temporary(path: &str) -> Option<(&str, &str)> {
    let at = path.match_indices("tmp-").find_map(|(at, _)| {
        let name = path[at..].split('/').next()?;
        (is_temporary(name) && (at == 0 || path[..at].ends_with('/'))).then_some(at)
    })?;
    let (directory, rest) = path[at..].split_once('/')?;
    let below = match rest.split_once('/') {
        Some((id, file)) if is_unique_id(id) && !file.contains('/') => file,
        _ => rest,
    };
    Some((directory, below))
}

/// Matches `tmp-<process id>-<random>`, the names of Node's package `tmp`.
fn is_temporary(name: &str) -> bool {
    let mut parts = name.splitn(3, '-');
    let prefix = parts.next() == Some("tmp");
    let id = parts.next().is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    let random = parts.next().is_some_and(|rest| !rest.is_empty());
    prefix && id && random
}

fn is_unique_id(name: &str) -> bool {
    name.len() >= UNIQUE_ID_DIGITS && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_temporary_directories_only() {
        let cases = [
            (
                "../../../tmp/tmp-6948-M7FlkMsOujHA/frappe/public/css/desk.bundle.css",
                "frappe/public/css/desk.bundle.css",
            ),
            ("../../tmp-14384-o2HbZb3DDiKW/1a1fdd1ddd60/shared.css", "shared.css"),
            ("tmp-1-a/abcdef/shared.css", "abcdef/shared.css"),
        ];
        for (path, below) in cases {
            assert_eq!(split_temporary(path).map(|(_, below)| below), Some(below));
        }
        for path in ["../css/desk.css", "tmp-x-y/a.css", "tmp-1/a.css", "xtmp-1-a/b.css", "tmp-1-a"] {
            assert_eq!(split_temporary(path), None, "{path}");
        }
    }
}
