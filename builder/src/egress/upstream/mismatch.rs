//! What a server sends now, against what the record has of it.

use super::super::recording::Answer;

/// How an answer differs from the `recorded` one, for people; nothing if it is the same.
pub(super) fn difference(recorded: &Answer, now: &Answer) -> Option<String> {
    if (now.body, now.status) == (recorded.body, recorded.status) {
        return None;
    }
    let [then_kind, now_kind] = [recorded, now].map(|answer| header(answer, "content-type"));
    let is_other_kind = then_kind != now_kind;
    let shown = |answer: &Answer, kind: &str| {
        let mut text = format!("{} with status {} ({} bytes", answer.body, answer.status, answer.size);
        if is_other_kind {
            text += &format!(" of {}", if kind.is_empty() { "no type" } else { kind });
        }
        text + ")"
    };
    let mut text = format!(
        "the record has {}, the server now sends {}",
        shown(recorded, &then_kind),
        shown(now, &now_kind)
    );
    let as_of = header(recorded, "last-modified");
    // Only an index's page in its lasting form has it.
    if !as_of.is_empty() && !header(now, "last-modified").is_empty() {
        text += &format!(", without what was uploaded after {as_of}");
    }
    Some(text)
}

/// What it says, cut to what a line has room for.
fn header(answer: &Answer, name: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 80;
    answer.headers.get(name).map(|value| value.chars().take(MAX_SHOWN_CHARS).collect()).unwrap_or_default()
}
