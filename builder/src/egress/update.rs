//! What is asked anew although a record has it.

use std::collections::BTreeSet;

use super::recording::{Answer, Recording, Request};
use crate::net::PublicUrl;

/// How much of an earlier record is refreshed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Update {
    /// Everything.
    #[default]
    All,
    /// What belongs to one of these, and what the record does not have.
    Only(Vec<UpdateSelector>),
}

/// A host's name, or a package's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateSelector(String);

impl UpdateSelector {
    /// A host as it stands in addresses (`pypi.org`, without its subdomains), or a package's name
    /// (`requests`, `@scope/name`).
    pub fn new(text: &str) -> Self {
        Self(normal(text))
    }

    fn fits(&self, url: &PublicUrl) -> bool {
        if url.host() == self.0 {
            return true;
        }
        let path = normal(&url.as_url().path().replace("%2f", "/").replace("%2F", "/").replace("%40", "@"));
        let is_segments = format!("{path}/").contains(&format!("/{}/", self.0));
        let file = path.rsplit('/').next().unwrap_or_default();
        let version = file.strip_prefix(&self.0).and_then(|rest| rest.strip_prefix('-'));
        is_segments || version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// Python packages are known by several spellings.
fn normal(text: &str) -> String {
    text.to_lowercase().replace('_', "-")
}

impl Update {
    /// Whether an answer for this address is asked for again.
    pub(super) fn includes(&self, url: &PublicUrl) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.iter().any(|wanted| wanted.fits(url)),
        }
    }
}

/// A request that has another answer now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordingChange {
    /// What was asked.
    pub request: Request,
    /// The answer before; `None` if it was not asked.
    pub before: Option<Answer>,
    /// The answer now; `None` if it was not asked any more.
    pub after: Option<Answer>,
}

impl RecordingChange {
    /// All by which two records differ, in their order.
    pub(super) fn between(before: &Recording, after: &Recording) -> Vec<Self> {
        let requests: BTreeSet<_> =
            before.entries().chain(after.entries()).map(|(request, _)| request).collect();
        let change = |request: &Request| {
            let (before, after) = (before.get(request), after.get(request));
            (before != after).then(|| Self {
                request: request.clone(),
                before: before.cloned(),
                after: after.cloned(),
            })
        };
        requests.into_iter().filter_map(change).collect()
    }
}

impl std::fmt::Display for RecordingChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (&self.before, &self.after) {
            (None, _) => "new",
            (_, None) => "gone",
            _ => "changed",
        };
        write!(f, "{what}: {} {}", self.request.method, self.request.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_packages_are_told_from_their_like() {
        let fits = |wanted: &str, url: &str| UpdateSelector::new(wanted).fits(&url.parse().unwrap());
        assert!(fits("pypi.org", "https://pypi.org/simple/a/"));
        assert!(!fits("pypi.org", "https://files.pypi.org/a"));
        assert!(fits("typing_extensions", "https://pypi.org/simple/typing-extensions/"));
        assert!(fits("typing-extensions", "https://f/packages/ab/typing_extensions-4.1.whl"));
        assert!(!fits("typing", "https://f/packages/ab/typing_extensions-4.1.whl"));
        assert!(fits("@vue/shared", "https://registry.yarnpkg.com/@vue%2fshared"));
        assert!(fits("@vue/shared", "https://registry.yarnpkg.com/@vue/shared/-/shared-3.1.tgz"));
        assert!(!fits("shared", "https://r/share/x"));
    }
}
