//! The difference between a response and the recorded one.

use carafe_layers::text::{escape, truncate};

use crate::egress::recording::RecordedResponse;

/// How a response differs from the `recorded` one, as a text; `None` if status and body are equal.
pub(super) fn difference(recorded: &RecordedResponse, now: &RecordedResponse) -> Option<String> {
    if (now.body, now.status) == (recorded.body, recorded.status) {
        return None;
    }
    let [then_type, now_type] = [recorded, now].map(|response| header(response, "content-type"));
    let types_differ = then_type != now_type;
    let describe = |response: &RecordedResponse, content_type: &str| {
        let mut text = format!("{} with status {} ({} bytes", response.body, response.status, response.size);
        if types_differ {
            text += &format!(" of {}", if content_type.is_empty() { "no type" } else { content_type });
        }
        text + ")"
    };
    let mut text = format!(
        "the recording has {}, the server now sends {}",
        describe(recorded, &then_type),
        describe(now, &now_type)
    );
    let cutoff = header(recorded, "last-modified");
    // Only a normalized Simple API response has this header.
    if !cutoff.is_empty() && !header(now, "last-modified").is_empty() {
        text += &format!(", without files that were uploaded after {cutoff}");
    }
    Some(text)
}

/// The value of a header, shortened for a message.
fn header(response: &RecordedResponse, name: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 80;
    response
        .headers
        .get(name)
        .map(|value| truncate(&escape(value), MAX_SHOWN_CHARS).into_owned())
        .unwrap_or_default()
}
