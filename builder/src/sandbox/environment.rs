//! The environment of a step: fixed, but for this machine's proxies and CA bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::{InjectedFile, Isolation, Network};
use crate::secret::Secret;

/// Where the CA bundle is seen inside.
pub(super) const CA_BUNDLE: &str = "/run/carafe/ca-certificates.crt";

/// The home of 1000, if the build root does not name another.
pub(super) const HOME: &str = "/home/frappe";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that name a whole CA bundle; the first that is set on this machine is believed.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
];

/// Names what node trusts besides its own bundle, so it is set but not believed.
const CA_FOR_NODE: &str = "NODE_EXTRA_CA_CERTS";

/// Where the distributions keep theirs.
const CA_PLACES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What is taken over from this machine.
#[derive(Clone, Default)]
pub(super) struct Host {
    /// The CA bundle, if there is one.
    pub ca_bundle: Option<PathBuf>,
    /// The proxy variables that are set, in the case they are set in.
    pub proxies: BTreeMap<String, String>,
}

impl Host {
    /// As this process sees it.
    pub fn of_this_process() -> Self {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let named = CA_VARIABLES.iter().filter_map(|name| variable(name)).map(PathBuf::from);
        let ca_bundle = named.chain(CA_PLACES.map(PathBuf::from)).find(|path| path.is_file());
        let ca_bundle = ca_bundle.and_then(|path| std::path::absolute(path).ok());
        let names = PROXY_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), name.to_uppercase()]);
        let proxies = names.filter_map(|name| Some((name.clone(), variable(&name)?))).collect();
        Self { ca_bundle, proxies }
    }

    /// The passwords in the proxies' URLs.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let urls = self.proxies.values().filter_map(|proxy| url::Url::parse(proxy).ok());
        urls.filter_map(|url| url.password().map(Secret::new))
    }

    /// What every step gets, beneath what its sandbox and it set.
    pub fn base(&self, isolation: Isolation, network: Network, scratch: &Path) -> BTreeMap<String, String> {
        let fixed = [
            ("HOME", HOME),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("LOGNAME", "frappe"),
            ("PATH", PATH),
            ("TZ", "UTC"),
            ("USER", "frappe"),
        ];
        let mut env: BTreeMap<_, _> = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if isolation == Isolation::None {
            for name in ["HOME", "LOGNAME", "PATH", "USER"] {
                env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
            }
            env.insert("TMPDIR".to_owned(), scratch.join("tmp").to_string_lossy().into_owned());
        }
        if network == Network::Host {
            env.extend(self.proxies.clone());
        }
        if let Some(bundle) = &self.ca_bundle {
            let seen = match isolation {
                Isolation::Namespaces => CA_BUNDLE.into(),
                Isolation::None => bundle.to_string_lossy(),
            };
            let names = CA_VARIABLES.into_iter().chain([CA_FOR_NODE]);
            env.extend(names.map(|name| (name.to_owned(), seen.clone().into_owned())));
        }
        env
    }
}

/// How names are resolved inside: as on this machine where its network is seen, else not at all.
pub(super) fn network_files(network: Network) -> [InjectedFile; 2] {
    const LOCAL: &str = "127.0.0.1 localhost\n::1 localhost\n";
    let file = |path: &str, alone: &str| {
        let own = match network {
            // A machine may have neither file, and then its build has neither.
            Network::Host => std::fs::read(path).unwrap_or_default(),
            Network::None => alone.as_bytes().to_vec(),
        };
        InjectedFile { path: path.into(), content: own, mode: 0o644 }
    };
    [file("/etc/hosts", LOCAL), file("/etc/resolv.conf", "")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_pass_in_both_cases_and_their_passwords_are_secrets() {
        let host = Host::from(|name| match name {
            "HTTPS_PROXY" => Some("http://me:hunter22@proxy:3128".to_owned()),
            "no_proxy" => Some("localhost".to_owned()),
            _ => None,
        });
        let env = host.base(Isolation::Namespaces, Network::Host, Path::new("/scratch"));
        assert_eq!(env["HTTPS_PROXY"], "http://me:hunter22@proxy:3128");
        assert_eq!(env["no_proxy"], "localhost");
        let secrets: Vec<_> = host.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["hunter22"]);
        let env = host.base(Isolation::Namespaces, Network::None, Path::new("/scratch"));
        assert!(!env.contains_key("HTTPS_PROXY"));
    }

    #[test]
    fn the_bundle_that_is_named_wins_and_every_program_is_told() {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        let path = bundle.path().to_str().unwrap().to_owned();
        let host = Host::from(|name| (name == "CURL_CA_BUNDLE").then(|| path.clone()));
        assert_eq!(host.ca_bundle.as_deref(), Some(bundle.path()));
        let env = host.base(Isolation::Namespaces, Network::Host, Path::new("/scratch"));
        assert!(CA_VARIABLES.iter().chain([&CA_FOR_NODE]).all(|name| env[*name] == CA_BUNDLE));
        let env = host.base(Isolation::None, Network::Host, Path::new("/scratch"));
        assert_eq!(env["SSL_CERT_FILE"], path);
    }
}
