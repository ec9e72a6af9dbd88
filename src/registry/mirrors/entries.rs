//! The entries of a `registries.conf`, and how they rewrite the name of a repository.

use std::path::PathBuf;

use crate::registry::error::RegistryError;
use crate::registry::reference::{Reference, Repository};

/// The configuration of the repositories whose names have a prefix: one `[[registry]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `host`, `host/path`, or `*.host` for all hosts below a domain.
    pub(super) prefix: String,
    /// The replacement of the prefix; `None` if it stays.
    pub(super) location: Option<String>,
    pub(super) is_insecure: bool,
    pub(super) is_blocked: bool,
    /// In the order in which they are tried.
    pub(super) mirrors: Vec<Mirror>,
    /// The file that contains the entry.
    pub(super) file: PathBuf,
}

/// A mirror of the repositories of an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    /// The replacement of the prefix.
    pub(super) location: String,
    pub(super) is_insecure: bool,
    pub(super) serves: Serves,
}

/// The references that a mirror is used for (`pull-from-mirror`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    All,
    Digests,
    Tags,
}

/// The locations and mirrors of repositories. Without entries, each repository is in the
/// registry of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Entry>);

impl Mirrors {
    /// A later entry for the same prefix replaces an earlier one.
    pub(super) fn add(&mut self, entry: Entry) {
        self.0.retain(|other| other.prefix != entry.prefix);
        self.0.push(entry);
    }

    /// Whether an entry marks `host` as insecure, as its location or as a mirror.
    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        let host_of = |location: &str| location.split('/').next() == Some(host);
        self.0.iter().any(|entry| {
            let own = match &entry.location {
                Some(location) => host_of(location),
                None => host_of(&entry.prefix) || strip_entry_prefix(&entry.prefix, host).is_some(),
            };
            own && entry.is_insecure
                || entry.mirrors.iter().any(|mirror| mirror.is_insecure && host_of(&mirror.location))
        })
    }

    /// The repository that `repository` stands for, and that pushes write to. Fails if it is blocked.
    pub(crate) fn locate(&self, repository: &Repository) -> Result<Repository, RegistryError> {
        let name = repository.to_string();
        match self.find(&name) {
            None => Ok(repository.clone()),
            Some((entry, _)) if entry.is_blocked => Err(RegistryError::Blocked {
                repository: name,
                prefix: entry.prefix.clone(),
                file: entry.file.clone(),
            }),
            Some((entry, rest)) => match &entry.location {
                None => Ok(repository.clone()),
                Some(location) => joined(location, rest, entry),
            },
        }
    }

    /// The repositories that `reference` can be read from: its mirrors in order, then its location.
    /// Fails if it is blocked.
    pub(crate) fn sources(&self, reference: &Reference) -> Result<Vec<Repository>, RegistryError> {
        let origin = self.locate(reference.repository())?;
        let excluded = if reference.digest().is_some() { Serves::Tags } else { Serves::Digests };
        let name = reference.repository().to_string();
        let mut mirrors = Vec::new();
        if let Some((entry, rest)) = self.find(&name) {
            for mirror in entry.mirrors.iter().filter(|mirror| mirror.serves != excluded) {
                mirrors.push(joined(&mirror.location, rest, entry)?);
            }
        }
        mirrors.push(origin);
        Ok(mirrors)
    }

    /// The location and all mirrors of `repository`; nothing if it is blocked.
    pub(crate) fn copies(&self, repository: &Repository) -> Vec<Repository> {
        let Ok(origin) = self.locate(repository) else { return Vec::new() };
        let name = repository.to_string();
        let found = self.find(&name);
        let mirrors = found.iter().flat_map(|(entry, rest)| {
            entry.mirrors.iter().filter_map(|mirror| joined(&mirror.location, rest, entry).ok())
        });
        mirrors.chain([origin]).collect()
    }

    /// The entry with the longest prefix of `name`, and the part of `name` after the prefix.
    fn find<'a>(&self, name: &'a str) -> Option<(&Entry, &'a str)> {
        let found = self.0.iter().filter_map(|entry| Some((entry, strip_entry_prefix(&entry.prefix, name)?)));
        found.max_by_key(|(entry, _)| entry.prefix.len())
    }
}

/// The part of `name` after `prefix`, which must end at the end of a path segment.
fn strip_entry_prefix<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let (host, path) = name.find('/').map_or((name, ""), |slash| name.split_at(slash));
    if let Some(domain) = prefix.strip_prefix('*') {
        return host.strip_suffix(domain).filter(|below| !below.is_empty()).map(|_| path);
    }
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The repository `location` + `rest`.
fn joined(location: &str, rest: &str, entry: &Entry) -> Result<Repository, RegistryError> {
    let name = format!("{location}{rest}");
    Repository::parse(&name).ok_or_else(|| RegistryError::Settings {
        file: entry.file.clone(),
        line: None,
        reason: format!(
            "`{location}` instead of `{}` results in `{name}`, which is not a repository",
            entry.prefix
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, location: Option<&str>, mirrors: &[(&str, Serves)]) -> Entry {
        let mirror = |(location, serves): &(&str, Serves)| Mirror {
            location: (*location).to_owned(),
            is_insecure: location.starts_with("plain"),
            serves: *serves,
        };
        Entry {
            prefix: prefix.to_owned(),
            location: location.map(str::to_owned),
            is_insecure: prefix.contains("plain"),
            is_blocked: prefix.contains("blocked"),
            mirrors: mirrors.iter().map(mirror).collect(),
            file: "registries.conf".into(),
        }
    }

    fn mirrors() -> Mirrors {
        let mut mirrors = Mirrors::default();
        let all = [("first.io", Serves::All), ("plain.io/tags", Serves::Tags), ("d.io", Serves::Digests)];
        for entry in [
            entry("docker.io", Some("replaced.io"), &[]),
            entry("docker.io", None, &all),
            entry("docker.io/frappe", Some("harbor:8443/hub"), &[]),
            entry("*.blocked.io", None, &[]),
            entry("*.plain.org", None, &[]),
        ] {
            mirrors.add(entry);
        }
        mirrors
    }

    fn sources(name: &str) -> Vec<String> {
        mirrors().sources(&name.parse().unwrap()).unwrap().iter().map(Repository::to_string).collect()
    }

    #[test]
    fn tries_mirrors_in_order_and_the_location_last() {
        let origin = "docker.io/library/nginx";
        let (first, tags, digests) =
            ("first.io/library/nginx", "plain.io/tags/library/nginx", "d.io/library/nginx");
        assert_eq!(sources("nginx:1"), [first, tags, origin]);
        let pinned = format!("nginx@sha256:{}", "0".repeat(64));
        assert_eq!(sources(&pinned), [first, digests, origin]);
        assert_eq!(sources("other.io/a"), ["other.io/a"]);
    }

    #[test]
    fn applies_the_longest_prefix_that_ends_with_a_segment() {
        assert_eq!(sources("frappe/base"), ["harbor:8443/hub/base"]);
        assert_eq!(sources("frappes/base").len(), 3);
        let locate = |name: &str| mirrors().locate(name.parse::<Reference>().unwrap().repository()).unwrap();
        assert_eq!(locate("frappe/erp").to_string(), "harbor:8443/hub/erp");
        assert_eq!(locate("nginx").to_string(), "docker.io/library/nginx");
    }

    #[test]
    fn the_error_for_a_blocked_repository_names_the_file() {
        let blocked = mirrors().sources(&"a.blocked.io/x".parse().unwrap()).unwrap_err().to_string();
        assert!(blocked.contains("*.blocked.io") && blocked.contains("registries.conf"), "{blocked}");
        assert_eq!(sources("blocked.io/x"), ["blocked.io/x"]);
    }

    #[test]
    fn a_host_is_insecure_if_an_entry_marks_it() {
        let mirrors = mirrors();
        assert!(mirrors.is_insecure("plain.io") && mirrors.is_insecure("a.plain.org"));
        for host in ["first.io", "docker.io", "harbor:8443", "plain.org", "a.b"] {
            assert!(!mirrors.is_insecure(host), "{host}");
        }
    }
}
