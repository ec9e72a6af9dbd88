//! Responses that are requested once more, at once, before they are accepted.

use carafe_layers::digest::Digest;

use super::error::AttemptError;
use super::simple_api::SIMPLE_API_JSON;
use crate::egress::recording::{Method, RecordedRequest, RecordedResponse};

/// The HTML types of a Simple API response.
const SIMPLE_API_HTML: [&str; 2] = ["text/html", "application/vnd.pypi.simple.v1+html"];

/// Which responses of one request were not accepted so far.
#[derive(Default)]
pub(super) struct Recheck {
    /// There was an HTML response although the client prefers JSON.
    had_html: bool,
    /// The body of a response without a marked end.
    unmarked: Option<Digest>,
}

impl Recheck {
    /// Whether `response` is accepted. `has_marked_end`: a truncated body would have been detected;
    /// without that, two equal bodies in a row are required. `is_less_preferred`
    /// ([`is_html_instead_of_json`]): it is accepted only if the next response is one, too.
    pub fn accepts(
        &mut self,
        response: &RecordedResponse,
        has_marked_end: bool,
        is_less_preferred: bool,
    ) -> Result<bool, AttemptError> {
        if is_less_preferred && !std::mem::replace(&mut self.had_html, true) {
            return Ok(false);
        }
        if has_marked_end || self.unmarked == Some(response.body) {
            return Ok(true);
        }
        match self.unmarked.replace(response.body) {
            None => Ok(false),
            Some(_) => Err(AttemptError::transient(
                "the server announces no length, and sends a different body each time",
            )),
        }
    }
}

/// Whether this is a Simple API response in HTML although the client prefers JSON. Some indexes have
/// HTML only. But some mirrors that have JSON send HTML now and then, which has no upload times and
/// therefore cannot be replayed after the next release.
pub(super) fn is_html_instead_of_json(request: &RecordedRequest, response: &RecordedResponse) -> bool {
    let content_type = response.headers.get("content-type").map_or("", String::as_str);
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_html = SIMPLE_API_HTML.iter().any(|html| media_type.eq_ignore_ascii_case(html));
    let accept = request.headers.get("accept").map_or("", String::as_str);
    request.method == Method::Get && response.status == 200 && is_html && prefers_json(accept)
}

/// Whether an `Accept` header prefers the Simple API's JSON to every other type in it.
fn prefers_json(accept: &str) -> bool {
    let weights = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        Some((media_type.eq_ignore_ascii_case(SIMPLE_API_JSON), weight.ok()?))
    });
    let (json, others): (Vec<_>, Vec<_>) = weights.partition(|(is_json, _)| *is_json);
    json.iter().any(|(_, weight)| *weight > 0.0 && others.iter().all(|(_, other)| other < weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_the_accept_headers_of_pip_and_uv() {
        for accept in [
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
            "text/html;q=0.5,application/vnd.pypi.simple.v1+JSON;q=0.9",
        ] {
            assert!(prefers_json(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html",
            "application/vnd.pypi.simple.v1+json;q=0, text/html;q=0",
            "application/vnd.pypi.simple.v1+json, text/html",
            "application/vnd.pypi.simple.v1+json;q=0.1, text/html;q=0.2",
            "application/vnd.pypi.simple.v1+json;q=much, text/html;q=0.2",
            "application/json, text/html;q=0.2",
        ] {
            assert!(!prefers_json(accept), "{accept}");
        }
    }
}
