//! Where repositories really are: other locations, mirrors before them, and what is blocked;
//! `registries_conf` reads it.

mod registries_conf;

use std::path::PathBuf;

use super::error::RegistryError;
use super::reference::{Reference, Repository};

/// What is known of the repositories whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// `host`, `host/path`, or `*.host` for all below a domain.
    prefix: String,
    /// What takes the prefix's place; none where it stays.
    location: Option<String>,
    is_insecure: bool,
    is_blocked: bool,
    /// In the order in which they are asked.
    mirrors: Vec<Mirror>,
    /// The file that says so.
    file: PathBuf,
}

/// A copy of what an [`Entry`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    /// What takes the prefix's place.
    location: String,
    is_insecure: bool,
    serves: Serves,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

/// Where repositories really are. Without anything known, each is where its name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Entry>);

impl Mirrors {
    /// A later entry for the same prefix replaces an earlier one.
    fn add(&mut self, entry: Entry) {
        self.0.retain(|known| known.prefix != entry.prefix);
        self.0.push(entry);
    }

    /// Whether `host` is named as insecure: as an entry's location or as a mirror.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        let host_of = |location: &str| location.split('/').next() == Some(host);
        self.0.iter().any(|entry| {
            let own = match &entry.location {
                Some(location) => host_of(location),
                None => host_of(&entry.prefix) || matched(&entry.prefix, host).is_some(),
            };
            own && entry.is_insecure
                || entry.mirrors.iter().any(|mirror| mirror.is_insecure && host_of(&mirror.location))
        })
    }

    /// Where `repository` is written to. Fails if that is blocked.
    pub(super) fn locate(&self, repository: &Repository) -> Result<Repository, RegistryError> {
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

    /// Where `reference` may be read: its mirrors in order, then where it is. Fails if it is
    /// blocked.
    pub(super) fn sources(&self, reference: &Reference) -> Result<Vec<Repository>, RegistryError> {
        let origin = self.locate(reference.repository())?;
        let unwanted = if reference.digest().is_some() { Serves::Tags } else { Serves::Digests };
        let name = reference.repository().to_string();
        let mut mirrors = Vec::new();
        if let Some((entry, rest)) = self.find(&name) {
            for mirror in entry.mirrors.iter().filter(|mirror| mirror.serves != unwanted) {
                mirrors.push(joined(&mirror.location, rest, entry)?);
            }
        }
        mirrors.push(origin);
        Ok(mirrors)
    }

    /// Everywhere that `repository` may have a copy; nowhere if it is blocked.
    pub(super) fn copies(&self, repository: &Repository) -> Vec<Repository> {
        let Ok(origin) = self.locate(repository) else { return Vec::new() };
        let name = repository.to_string();
        let found = self.find(&name);
        let mirrors = found.iter().flat_map(|(entry, rest)| {
            entry.mirrors.iter().filter_map(|mirror| joined(&mirror.location, rest, entry).ok())
        });
        mirrors.chain([origin]).collect()
    }

    /// The entry with the longest prefix of `name`, and what comes after it.
    fn find<'a>(&self, name: &'a str) -> Option<(&Entry, &'a str)> {
        let found = self.0.iter().filter_map(|entry| Some((entry, matched(&entry.prefix, name)?)));
        found.max_by_key(|(entry, _)| entry.prefix.len())
    }
}

/// What comes in `name` after `prefix`, which ends where a part of the name ends.
fn matched<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let (host, path) = name.find('/').map_or((name, ""), |slash| name.split_at(slash));
    if let Some(domain) = prefix.strip_prefix('*') {
        return host.strip_suffix(domain).filter(|below| !below.is_empty()).map(|_| path);
    }
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A repository that begins with `location`.
fn joined(location: &str, rest: &str, entry: &Entry) -> Result<Repository, RegistryError> {
    let name = format!("{location}{rest}");
    Repository::parse(&name).ok_or_else(|| RegistryError::Settings {
        file: entry.file.clone(),
        line: None,
        reason: format!(
            "`{location}` in the place of `{}` makes `{name}`, which is no repository",
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
    fn mirrors_come_first_in_their_order_and_the_origin_last() {
        let origin = "docker.io/library/nginx";
        let (first, tags, digests) =
            ("first.io/library/nginx", "plain.io/tags/library/nginx", "d.io/library/nginx");
        assert_eq!(sources("nginx:1"), [first, tags, origin]);
        let pinned = format!("nginx@sha256:{}", "0".repeat(64));
        assert_eq!(sources(&pinned), [first, digests, origin]);
        assert_eq!(sources("other.io/a"), ["other.io/a"]);
    }

    #[test]
    fn the_longest_prefix_decides_and_ends_with_a_part() {
        assert_eq!(sources("frappe/base"), ["harbor:8443/hub/base"]);
        assert_eq!(sources("frappes/base").len(), 3);
        let locate = |name: &str| mirrors().locate(name.parse::<Reference>().unwrap().repository()).unwrap();
        assert_eq!(locate("frappe/erp").to_string(), "harbor:8443/hub/erp");
        assert_eq!(locate("nginx").to_string(), "docker.io/library/nginx");
    }

    #[test]
    fn what_is_blocked_names_the_file() {
        let blocked = mirrors().sources(&"a.blocked.io/x".parse().unwrap()).unwrap_err().to_string();
        assert!(blocked.contains("*.blocked.io") && blocked.contains("registries.conf"), "{blocked}");
        assert_eq!(sources("blocked.io/x"), ["blocked.io/x"]);
    }

    #[test]
    fn a_host_is_insecure_where_it_is_named_so() {
        let mirrors = mirrors();
        assert!(mirrors.is_insecure("plain.io") && mirrors.is_insecure("a.plain.org"));
        for host in ["first.io", "docker.io", "harbor:8443", "plain.org", "a.b"] {
            assert!(!mirrors.is_insecure(host), "{host}");
        }
    }
}
