//! Canonical JSON: the same values always give the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// Compact JSON with the members of every object sorted by the bytes of their names. Does not rely
/// on the map order of `serde_json`, which another crate's feature flags can change.
///
/// # Panics
/// If `value` cannot be represented as JSON (a map whose keys are not strings): an error in a type,
/// not in data.
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    #[allow(clippy::expect_used)]
    let value = serde_json::to_value(value).expect("documents are made of strings, numbers, lists and maps");
    let mut text = String::new();
    write(&value, &mut text);
    text.into_bytes()
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            write_all(text, ['{', '}'], sorted, |(name, member), text| {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(member, text);
            });
        }
        Value::Array(items) => write_all(text, ['[', ']'], items, write),
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn write_all<T>(
    text: &mut String,
    [open, close]: [char; 2],
    items: impl IntoIterator<Item = T>,
    mut write_one: impl FnMut(T, &mut String),
) {
    text.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write_one(item, text);
    }
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_at_every_depth() {
        let value: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":"é\n"}],"B":null,"a":{},"c":[]}"#).unwrap();
        let text = String::from_utf8(canonical_json(&value)).unwrap();
        assert_eq!(text, r#"{"B":null,"a":{},"b":[{"a":"é\n","z":1}],"c":[]}"#);
    }
}
