//! Whole answers that are asked for once more, at once, before one is believed.

use carafe_layers::digest::Digest;

use super::super::recording::{Answer, Method, Request};
use super::retry::AttemptError;
use super::simple_api::PAGE;

/// The types of a Python index's page in HTML.
const HTML_PAGES: [&str; 2] = ["text/html", "application/vnd.pypi.simple.v1+html"];

/// What spoke against the answers so far.
#[derive(Default)]
pub(super) struct Recheck {
    /// One was second best.
    had_second_best: bool,
    /// The body of one whose end nothing marked.
    unmarked: Option<Digest>,
}

impl Recheck {
    /// Whether `answer` counts. One whose end is not marked must come twice, and be the same; one
    /// that [`is_second_best`] is taken if the next is no better.
    pub fn believes(
        &mut self,
        answer: &Answer,
        is_whole: bool,
        is_second_best: bool,
    ) -> Result<bool, AttemptError> {
        if is_second_best && !std::mem::replace(&mut self.had_second_best, true) {
            return Ok(false);
        }
        if is_whole || self.unmarked == Some(answer.body) {
            return Ok(true);
        }
        match self.unmarked.replace(answer.body) {
            None => Ok(false),
            Some(_) => Err(AttemptError::passing(
                "it marks no end of what it sends, and sends another length each time",
            )),
        }
    }
}

/// Whether a page of a Python index came in HTML although the client prefers JSON. Some indexes
/// have no other; but mirrors that have it send HTML now and then, which says of no file when it
/// came, and so cannot be had again after the next release.
pub(super) fn is_second_best(request: &Request, answer: &Answer) -> bool {
    let kind = answer.headers.get("content-type").map_or("", |kind| kind.split(';').next().unwrap_or(""));
    let is_html = HTML_PAGES.iter().any(|page| kind.trim().eq_ignore_ascii_case(page));
    let accept = request.headers.get("accept").map_or("", String::as_str);
    request.method == Method::Get && answer.status == 200 && is_html && prefers_json(accept)
}

/// Whether an `Accept` has an index's page in JSON before everything else that it has.
fn prefers_json(accept: &str) -> bool {
    let weights = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        Some((kind.eq_ignore_ascii_case(PAGE), weight.ok()?))
    });
    let (json, others): (Vec<_>, Vec<_>) = weights.partition(|(is_json, _)| *is_json);
    json.iter().any(|(_, weight)| *weight > 0.0 && others.iter().all(|(_, other)| other < weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_and_uv_prefer_json() {
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
