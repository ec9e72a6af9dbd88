//! `refused-hosts` of `[network]`: hosts that respond 404 to a build.

use std::collections::BTreeSet;

use toml::Spanned;

use super::error::{Origin, SpecError};
use crate::net::{Mirror, PublicUrl};

/// Settings that make a host reachable.
#[derive(Clone, Copy)]
pub(super) struct ReachableHosts<'a> {
    /// `[mirrors]`.
    pub mirrors: &'a [Mirror],
    /// `private-hosts`.
    pub private_hosts: &'a BTreeSet<String>,
}

/// Checks the names, and returns them in the form of URLs. A host that is in `reachable`, which is from the same
/// file, is an error.
pub(super) fn read(
    hosts: &[Spanned<String>],
    reachable: ReachableHosts<'_>,
    document: &Origin,
) -> Result<BTreeSet<String>, SpecError> {
    let mut names = BTreeSet::new();
    for host in hosts {
        let origin = document.at(host.span());
        let name = parse_name(host.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is not a host name", host.get_ref().escape_debug());
            let help = "write it as \"raw.githubusercontent.com\", without a port: all ports are refused";
            origin.error(message, help)
        })?;
        if let Some(setting) = reachable.setting_of(&name) {
            let message = format!("`{name}` is in `refused-hosts` and in `{setting}`");
            return Err(origin.error(message, "remove it from one of the two"));
        }
        if names.contains(&name) {
            let message = format!("`{name}` is listed twice");
            return Err(origin.error(message, "remove one of the two entries"));
        }
        names.insert(name);
    }
    Ok(names)
}

/// The form that the name has in a URL. `None` if it is not a DNS name.
fn parse_name(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.chars().all(is_plain) || text.starts_with('.') || text.ends_with('.') {
        return None;
    }
    let url: PublicUrl = format!("http://{text}/").parse().ok()?;
    url.as_url().domain().map(str::to_owned)
}

impl ReachableHosts<'_> {
    /// The setting that makes this host reachable, if any.
    pub fn setting_of(&self, host: &str) -> Option<&'static str> {
        let is_host = |entry: &str| {
            let rest = entry.strip_prefix(host);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        if self.mirrors.iter().any(|mirror| [mirror.from(), mirror.to()].iter().any(|url| url.host() == host))
        {
            return Some("[mirrors]");
        }
        self.private_hosts.iter().any(|entry| is_host(entry)).then_some("private-hosts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(hosts: &str) -> Result<BTreeSet<String>, SpecError> {
        #[derive(serde::Deserialize)]
        struct Table {
            hosts: Vec<Spanned<String>>,
        }
        let text = format!("\n\nhosts = [{hosts}]");
        let table: Table = toml::from_str(&text).unwrap();
        let mirrors = [Mirror::new("https://github.com/", "https://git.corp:8443/hub/").unwrap()];
        let private_hosts = ["inner.corp:8443".to_owned(), "a.example.org".to_owned()].into();
        let reachable = ReachableHosts { mirrors: &mirrors, private_hosts: &private_hosts };
        read(&table.hosts, reachable, &Origin::document("carafe.toml", &text))
    }

    #[test]
    fn converts_names_to_the_form_of_urls() {
        let names = parse("'Raw.GitHubUserContent.com', 'bücher.example', 'a.example'").unwrap();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["a.example", "raw.githubusercontent.com", "xn--bcher-kva.example"]);
    }

    #[test]
    fn rejects_invalid_and_contradictory_names_with_their_position() {
        for (hosts, part) in [
            ("'https://a.example'", "is not a host name"),
            ("'a.example:443'", "is not a host name"),
            ("'*.a.example'", "is not a host name"),
            ("'10.0.0.5'", "is not a host name"),
            ("'a.example.'", "is not a host name"),
            ("''", "is not a host name"),
            ("'a.example', 'A.example'", "is listed twice"),
            ("'github.com'", "and in `[mirrors]`"),
            ("'git.corp'", "and in `[mirrors]`"),
            ("'inner.corp'", "and in `private-hosts`"),
        ] {
            let error = parse(hosts).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("carafe.toml:3:"), "{error}");
        }
    }
}
