//! The environment of a step: fixed, and what makes programs use the door. Without isolation, this
//! machine's proxies and CA bundle instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::{InjectedFile, Isolation, Network};
use super::proxy_sockets::{NAMES_PORT, PROXY_PORT, ProxyHandle};
use crate::secret::Secret;

/// Where the door's certificate is inside.
const CA_CERTIFICATE: &str = "/run/carafe/ca-certificates.crt";

/// Where programs look that ask no variable (wget).
const SYSTEM_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

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

/// Name what a program trusts besides or instead of its own bundle: set, but not believed.
/// `npm_config_*` is for npm and yarn 1 alike.
const OTHER_CA_VARIABLES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO", "npm_config_cafile"];

/// Where the distributions keep theirs.
const CA_PLACES: [&str; 5] = [
    SYSTEM_CA_BUNDLE,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Name the proxy to a program that asks no variable of [`PROXY_VARIABLES`].
const OTHER_PROXY_VARIABLES: [&str; 2] = ["npm_config_proxy", "npm_config_https_proxy"];

/// The door sends nothing of a body before it has all of it, so programs are told to wait longer
/// than they would: half an hour. (yarn and npm take milliseconds.)
const PATIENCE: [(&str, &str); 4] = [
    ("PIP_DEFAULT_TIMEOUT", "1800"),
    ("UV_HTTP_TIMEOUT", "1800"),
    ("YARN_NETWORK_TIMEOUT", "1800000"),
    ("npm_config_fetch_timeout", "1800000"),
];

/// What is taken over from this machine, without isolation.
#[derive(Clone, Default)]
pub(super) struct Host {
    ca_bundle: Option<PathBuf>,
    /// The proxy variables that are set, in the case they are set in.
    proxies: BTreeMap<String, String>,
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
        let names = in_both_cases(PROXY_VARIABLES);
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
        match (isolation, network) {
            (Isolation::Namespaces, Network::EgressProxy) => env.extend(through_the_door()),
            (Isolation::Namespaces, Network::None) => {}
            (Isolation::None, _) => env.extend(self.in_place(network, scratch)),
        }
        env
    }

    fn in_place(&self, network: Network, scratch: &Path) -> BTreeMap<String, String> {
        let ours = ["HOME", "LOGNAME", "PATH", "USER"];
        let mut env: BTreeMap<String, String> =
            ours.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
        env.insert("TMPDIR".to_owned(), scratch.join("tmp").to_string_lossy().into_owned());
        if network == Network::EgressProxy {
            env.extend(self.proxies.clone());
        }
        if let Some(bundle) = &self.ca_bundle {
            let bundle = bundle.to_string_lossy();
            let names = CA_VARIABLES.into_iter().chain(["NODE_EXTRA_CA_CERTS"]);
            env.extend(names.map(|name| (name.to_owned(), bundle.clone().into_owned())));
        }
        env
    }
}

fn in_both_cases(names: [&'static str; 4]) -> impl Iterator<Item = String> {
    names.into_iter().flat_map(|name| [name.to_owned(), name.to_uppercase()])
}

/// What makes programs ask the door, believe it and wait for it.
fn through_the_door() -> BTreeMap<String, String> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let names = in_both_cases(PROXY_VARIABLES).chain(OTHER_PROXY_VARIABLES.map(str::to_owned));
    let mut env: BTreeMap<_, _> = names.map(|name| (name, proxy.clone())).collect();
    // What listens inside is reached without us.
    let inside = "localhost,127.0.0.1,::1";
    env.extend(["no_proxy", "NO_PROXY"].map(|name| (name.to_owned(), inside.to_owned())));
    let trust = CA_VARIABLES.into_iter().chain(OTHER_CA_VARIABLES).map(|name| (name, CA_CERTIFICATE));
    // Makes node's own client ask the variables, where it knows how.
    let rest = trust.chain(PATIENCE).chain([("NODE_USE_ENV_PROXY", "1")]);
    env.extend(rest.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

/// How names are resolved inside, and whom to trust.
pub(super) fn network_files(network: Network, proxy: Option<&dyn ProxyHandle>) -> Vec<InjectedFile> {
    debug_assert_eq!(NAMES_PORT, 53, "resolv.conf names no port");
    let file = |path: &str, content: &str| InjectedFile {
        path: path.into(),
        content: content.as_bytes().to_vec(),
        mode: 0o644,
    };
    let asked = if network == Network::EgressProxy { "nameserver 127.0.0.1\n" } else { "" };
    let mut files = vec![
        file("/etc/hosts", "127.0.0.1 localhost carafe\n::1 localhost\n"),
        file("/etc/resolv.conf", asked),
    ];
    let certificate = proxy.map(ProxyHandle::ca_certificate);
    files.extend(
        certificate
            .into_iter()
            .flat_map(|certificate| [CA_CERTIFICATE, SYSTEM_CA_BUNDLE].map(|path| file(path, certificate))),
    );
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_isolation_proxies_pass_in_both_cases_and_their_passwords_are_secrets() {
        let host = Host::from(|name| match name {
            "HTTPS_PROXY" => Some("http://me:hunter22@proxy:3128".to_owned()),
            "no_proxy" => Some("localhost".to_owned()),
            _ => None,
        });
        let env = host.base(Isolation::None, Network::EgressProxy, Path::new("/scratch"));
        assert_eq!(env["HTTPS_PROXY"], "http://me:hunter22@proxy:3128");
        assert_eq!(env["no_proxy"], "localhost");
        let secrets: Vec<_> = host.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["hunter22"]);
        for network in [Network::EgressProxy, Network::None] {
            let env = host.base(Isolation::Namespaces, network, Path::new("/scratch"));
            assert!(env.values().all(|value| !value.contains("hunter22")));
        }
    }

    #[test]
    fn without_isolation_the_bundle_that_is_named_wins_and_every_program_is_told() {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        let path = bundle.path().to_str().unwrap().to_owned();
        let host = Host::from(|name| (name == "CURL_CA_BUNDLE").then(|| path.clone()));
        assert_eq!(host.ca_bundle.as_deref(), Some(bundle.path()));
        let env = host.base(Isolation::None, Network::EgressProxy, Path::new("/scratch"));
        assert!(CA_VARIABLES.iter().chain(&["NODE_EXTRA_CA_CERTS"]).all(|name| env[*name] == path));
    }

    #[test]
    fn the_door_is_all_that_a_step_is_told_of() {
        let base = |network| Host::default().base(Isolation::Namespaces, network, Path::new("/scratch"));
        let env = base(Network::EgressProxy);
        for name in ["http_proxy", "HTTPS_PROXY", "npm_config_https_proxy"] {
            assert_eq!(env[name], "http://127.0.0.1:3128", "{name}");
        }
        assert!(CA_VARIABLES.iter().all(|name| env[*name] == CA_CERTIFICATE));
        assert!(!base(Network::None).keys().any(|name| name.to_lowercase().contains("proxy")));
    }
}
