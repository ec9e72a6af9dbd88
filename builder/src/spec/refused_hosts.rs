//! `refused-hosts` of `[network]`: whom a build is to do without.

use std::collections::BTreeSet;

use toml::Spanned;

use super::{Network, Origin, SpecError};
use crate::net::PublicUrl;

/// Checks the names. `network` is what else stands in the same file: a host cannot be refused and
/// led to elsewhere at once.
pub(super) fn read(
    hosts: &[Spanned<String>],
    network: &Network,
    whole: &Origin,
) -> Result<BTreeSet<String>, SpecError> {
    let mut names = BTreeSet::new();
    for host in hosts {
        let origin = whole.at(host.span());
        let help = "write it as \"raw.githubusercontent.com\": the whole host is refused, on every port";
        let name = name(host.get_ref()).ok_or_else(|| origin.error("no host's name", help))?;
        if let Some(table) = network.leads_to(&name) {
            let message = format!("`{name}` is refused here and reached by `{table}`");
            return Err(origin.error(message, "remove it from one of the two"));
        }
        if names.contains(&name) {
            return Err(origin.error(format!("`{name}` stands here twice"), "remove one of the two"));
        }
        names.insert(name);
    }
    Ok(names)
}

/// A name as it stands in addresses.
fn name(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.chars().all(is_plain) || text.starts_with('.') || text.ends_with('.') {
        return None;
    }
    let url: PublicUrl = format!("http://{text}/").parse().ok()?;
    url.as_url().domain().map(str::to_owned)
}

impl Network {
    /// Where it is said that this host is reached, if anywhere.
    pub(super) fn leads_to(&self, host: &str) -> Option<&'static str> {
        let is_host = |named: &str| {
            let rest = named.strip_prefix(host);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        if self.mirrors.iter().any(|mirror| [mirror.from(), mirror.to()].iter().any(|url| url.host() == host))
        {
            return Some("[mirrors]");
        }
        self.private_hosts.iter().any(|named| is_host(named)).then_some("private-hosts")
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::read;

    #[test]
    fn names_are_known_as_addresses_have_them() {
        let network =
            read("[network]\nrefused-hosts = ['Raw.GitHubUserContent.com', 'bücher.example']").unwrap();
        let names: Vec<_> = network.refused_hosts.iter().map(String::as_str).collect();
        assert_eq!(names, ["raw.githubusercontent.com", "xn--bcher-kva.example"]);
    }

    #[test]
    fn what_is_no_name_or_contradicts_the_rest_is_pointed_at() {
        for (hosts, word) in [
            ("'https://a.example'", "no host's name"),
            ("'a.example:443'", "no host's name"),
            ("'*.a.example'", "no host's name"),
            ("'10.0.0.5'", "no host's name"),
            ("'a.example.'", "no host's name"),
            ("''", "no host's name"),
            ("'a.example', 'A.example'", "stands here twice"),
            ("'github.com'", "reached by `[mirrors]`"),
            ("'git.corp'", "reached by `[mirrors]`"),
            ("'inner.corp'", "reached by `private-hosts`"),
        ] {
            let text = format!(
                "[mirrors]\n'https://github.com/' = 'https://git.corp:8443/hub/'\n\
                 [network]\nprivate-hosts = ['inner.corp:8443']\nrefused-hosts = [{hosts}]"
            );
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(word) && error.starts_with("carafe.toml:5:"), "{error}");
        }
        assert!(read("[network]\nprivate-hosts = ['a.example.org']\nrefused-hosts = ['a.example']").is_ok());
    }

    #[test]
    fn what_is_nearer_says_whether_a_host_is_reached() {
        let refused = |text: &str| read(text).unwrap();
        let spec = || refused("[network]\nrefused-hosts = ['a.example', 'b.example']");
        let nearer = refused("[mirrors]\n'https://a.example/' = 'https://near/'");
        let both = spec().with(nearer);
        assert_eq!(both.refused_hosts, ["b.example".to_owned()].into());
        let both = spec().with(refused("[network]\nrefused-hosts = ['c.example']"));
        assert_eq!(both.refused_hosts.len(), 3);
    }
}
