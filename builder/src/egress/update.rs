//! Whether a build records or replays, and which recorded responses are refreshed.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use super::recording::{RecordedRequest, RecordedResponse, Recording};
use crate::net::{PublicUrl, pep503};

/// Whether the egress proxy records or replays.
pub enum Mode {
    /// Fetches each request once, and records the responses.
    Record {
        /// The recording of an earlier build: used for everything that `update` does not include.
        previous: Option<Recording>,
        /// What is fetched again.
        update: Update,
    },
    /// Serves responses from this recording, and blocks requests that it does not have.
    Replay(Recording),
}

/// How much of an earlier recording is refreshed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Update {
    /// Everything.
    #[default]
    All,
    /// What one of these selects, and what the recording does not have.
    Only(Vec<UpdateSelector>),
}

/// The name of a host or of a package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateSelector {
    host: String,
    package: String,
}

impl UpdateSelector {
    /// A host as URLs have it (`pypi.org`, without its subdomains), or a package's name
    /// (`requests`, `@scope/name`). Names of packages are compared as PEP 503 does, npm's too: this
    /// may refresh the responses of a second npm package, and never misses one.
    pub fn new(text: &str) -> Self {
        Self { host: text.to_lowercase(), package: pep503::normalize(text) }
    }

    fn matches(&self, url: &PublicUrl) -> bool {
        if url.host() == self.host {
            return true;
        }
        let path = percent_decode_str(url.as_url().path()).decode_utf8_lossy();
        let path = pep503::normalize(&path);
        let has_segments = format!("{path}/").contains(&format!("/{}/", self.package));
        let file = path.rsplit('/').next().unwrap_or_default();
        let version = file.strip_prefix(&self.package).and_then(|rest| rest.strip_prefix('-'));
        has_segments || version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    }
}

impl Update {
    /// Whether responses of this URL are fetched again.
    pub(super) fn includes(&self, url: &PublicUrl) -> bool {
        match self {
            Self::All => true,
            Self::Only(selectors) => selectors.iter().any(|selector| selector.matches(url)),
        }
    }
}

/// A request whose response is different in two recordings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordingChange {
    /// The request.
    pub request: RecordedRequest,
    /// The response before; `None` if that recording has no such request.
    pub before: Option<RecordedResponse>,
    /// The response now; `None` if the request was not sent.
    pub after: Option<RecordedResponse>,
}

impl RecordingChange {
    /// All differences of two recordings, sorted by request.
    pub(super) fn between(before: &Recording, after: &Recording) -> Vec<Self> {
        let requests: BTreeSet<_> =
            before.entries().chain(after.entries()).map(|(request, _)| request).collect();
        let change = |request: &RecordedRequest| {
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
        let change = match (&self.before, &self.after) {
            (None, _) => "new",
            (_, None) => "removed",
            _ => "changed",
        };
        write!(f, "{change}: {} {}", self.request.method, self.request.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_hosts_and_packages_by_their_complete_names() {
        let matches = |text: &str, url: &str| UpdateSelector::new(text).matches(&url.parse().unwrap());
        assert!(matches("pypi.org", "https://pypi.org/simple/a/"));
        assert!(!matches("pypi.org", "https://files.pypi.org/a"));
        assert!(!matches("typing", "https://f/packages/ab/typing_extensions-4.1.whl"));
        assert!(matches("@vue/shared", "https://registry.yarnpkg.com/@vue%2fshared"));
        assert!(matches("@vue/shared", "https://registry.yarnpkg.com/@vue/shared/-/shared-3.1.tgz"));
        assert!(!matches("shared", "https://r/share/x"));
    }

    #[test]
    fn every_spelling_of_a_python_package_selects_it() {
        for name in ["zope.interface", "zope-interface", "Zope_Interface"] {
            for path in [
                "/simple/zope-interface/",
                "/simple/zope.interface/",
                "/pypi/zope.interface/json",
                "/packages/ab/zope.interface-5.5.2.tar.gz",
                "/packages/ab/zope_interface-7.2-cp312-cp312-linux_x86_64.whl",
                "/packages/ab/zope_interface-7.2-cp312-cp312-linux_x86_64.whl.metadata",
            ] {
                let url = format!("https://pypi.example{path}").parse().unwrap();
                assert!(UpdateSelector::new(name).matches(&url), "{name} {path}");
            }
            let other = "https://pypi.example/simple/zope-interface-extras/".parse().unwrap();
            assert!(!UpdateSelector::new(name).matches(&other), "{name}");
        }
    }
}
