//! The environment of a step: fixed variables, and those that configure the egress proxy. Without
//! isolation, this machine's variables, proxies and CA bundle instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::{InjectedFile, Network};
use super::isolation::Isolation;
use super::proxy_sockets::{DNS_PORT, PROXY_PORT, ProxyHandle};
use super::scratch;
use crate::secret::Secret;

/// The CA certificate of the egress proxy in the sandbox.
const CA_CERTIFICATE: &str = "/run/carafe/ca-certificates.crt";

/// The CA bundle of programs that read no variable (wget).
const SYSTEM_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The home directory of 1000, unless the build image's environment names another.
pub(super) const HOME: &str = "/home/frappe";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that name a complete CA bundle. The first one that is set on this machine is used.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
];

/// Variables that name certificates which a program trusts besides or instead of its own bundle. They
/// are set in the sandbox, but not read from this machine. npm and yarn 1 both read `npm_config_*`.
const OTHER_CA_VARIABLES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO", "npm_config_cafile"];

/// The CA bundles of the distributions.
const CA_BUNDLE_PATHS: [&str; 5] = [
    SYSTEM_CA_BUNDLE,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

const PROXY_VARIABLES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Variables for programs that do not read [`PROXY_VARIABLES`].
const OTHER_PROXY_VARIABLES: [&str; 2] = ["npm_config_proxy", "npm_config_https_proxy"];

/// The egress proxy sends a body only when it is complete, so the timeouts of the clients are raised
/// to half an hour. (In seconds; yarn's and npm's are in milliseconds.)
const CLIENT_TIMEOUTS: [(&str, &str); 4] = [
    ("PIP_DEFAULT_TIMEOUT", "1800"),
    ("UV_HTTP_TIMEOUT", "1800"),
    ("YARN_NETWORK_TIMEOUT", "1800000"),
    ("npm_config_fetch_timeout", "1800000"),
];

/// The settings of this machine that steps without isolation use.
#[derive(Clone, Default)]
pub(super) struct HostEnvironment {
    ca_bundle: Option<PathBuf>,
    /// The proxy variables that are set, in lower or upper case as they are set.
    proxies: BTreeMap<String, String>,
}

impl HostEnvironment {
    /// Reads the environment of this process.
    pub fn of_this_process() -> Self {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let named = CA_VARIABLES.iter().filter_map(|name| variable(name)).map(PathBuf::from);
        let ca_bundle = named.chain(CA_BUNDLE_PATHS.map(PathBuf::from)).find(|path| path.is_file());
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

    /// The variables of every step, which the variables of its sandbox and its own override.
    pub fn base_variables(
        &self,
        isolation: Isolation,
        network: Network,
        scratch: &Path,
    ) -> BTreeMap<String, String> {
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
        if !isolation.uses_build_image() {
            let user = ["HOME", "LOGNAME", "PATH", "USER"].into_iter();
            env.extend(user.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))));
        }
        if !isolation.has_private_files() {
            let tmp = scratch.join(scratch::TMP);
            env.insert("TMPDIR".to_owned(), tmp.to_string_lossy().into_owned());
        }
        env.extend(if isolation.has_private_network() {
            proxy_variables(network)
        } else {
            self.network_variables(network)
        });
        env
    }

    /// The proxies and the CA bundle of this machine's network.
    fn network_variables(&self, network: Network) -> BTreeMap<String, String> {
        let mut env = match network {
            Network::EgressProxy => self.proxies.clone(),
            Network::None => BTreeMap::new(),
        };
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

/// The variables that make programs use the egress proxy, trust its CA, and wait for its responses.
fn proxy_variables(network: Network) -> BTreeMap<String, String> {
    match network {
        Network::None => return BTreeMap::new(),
        Network::EgressProxy => {}
    }
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let names = in_both_cases(PROXY_VARIABLES).chain(OTHER_PROXY_VARIABLES.map(str::to_owned));
    let mut env: BTreeMap<_, _> = names.map(|name| (name, proxy.clone())).collect();
    // Servers in the sandbox are connected to without the proxy.
    let local = "localhost,127.0.0.1,::1";
    env.extend(["no_proxy", "NO_PROXY"].map(|name| (name.to_owned(), local.to_owned())));
    let trust = CA_VARIABLES.into_iter().chain(OTHER_CA_VARIABLES).map(|name| (name, CA_CERTIFICATE));
    // Makes node's own client read the variables, in the versions that can.
    let rest = trust.chain(CLIENT_TIMEOUTS).chain([("NODE_USE_ENV_PROXY", "1")]);
    env.extend(rest.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

/// The configuration of name resolution and CA certificates in the sandbox.
pub(super) fn network_files(network: Network, proxy: Option<&dyn ProxyHandle>) -> Vec<InjectedFile> {
    debug_assert_eq!(DNS_PORT, 53, "resolv.conf has no port");
    let file = |path: &str, content: &str| InjectedFile {
        path: path.into(),
        content: content.as_bytes().to_vec(),
        mode: 0o644,
    };
    let resolver = match network {
        Network::EgressProxy => "nameserver 127.0.0.1\n",
        Network::None => "",
    };
    let mut files = vec![
        file("/etc/hosts", "127.0.0.1 localhost carafe\n::1 localhost\n"),
        file("/etc/resolv.conf", resolver),
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
        let host = HostEnvironment::from(|name| match name {
            "HTTPS_PROXY" => Some("http://me:hunter22@proxy:3128".to_owned()),
            "no_proxy" => Some("localhost".to_owned()),
            _ => None,
        });
        let env = host.base_variables(Isolation::None, Network::EgressProxy, Path::new("/scratch"));
        assert_eq!(env["HTTPS_PROXY"], "http://me:hunter22@proxy:3128");
        assert_eq!(env["no_proxy"], "localhost");
        assert_eq!(env["TMPDIR"], "/scratch/tmp");
        let secrets: Vec<_> = host.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["hunter22"]);
        for network in [Network::EgressProxy, Network::None] {
            let env = host.base_variables(Isolation::Namespaces, network, Path::new("/scratch"));
            assert!(env.values().all(|value| !value.contains("hunter22")));
        }
    }

    #[test]
    fn without_isolation_a_named_ca_bundle_is_set_for_every_program() {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        let path = bundle.path().to_str().unwrap().to_owned();
        let host = HostEnvironment::from(|name| (name == "CURL_CA_BUNDLE").then(|| path.clone()));
        assert_eq!(host.ca_bundle.as_deref(), Some(bundle.path()));
        let env = host.base_variables(Isolation::None, Network::EgressProxy, Path::new("/scratch"));
        assert!(CA_VARIABLES.iter().chain(&["NODE_EXTRA_CA_CERTS"]).all(|name| env[*name] == path));
    }

    #[test]
    fn in_the_sandbox_only_the_egress_proxy_is_configured() {
        let base = |network| {
            HostEnvironment::default().base_variables(Isolation::Namespaces, network, Path::new("/scratch"))
        };
        let env = base(Network::EgressProxy);
        for name in ["http_proxy", "HTTPS_PROXY", "npm_config_https_proxy"] {
            assert_eq!(env[name], "http://127.0.0.1:3128", "{name}");
        }
        assert!(CA_VARIABLES.iter().all(|name| env[*name] == CA_CERTIFICATE));
        assert!(!base(Network::None).keys().any(|name| name.to_lowercase().contains("proxy")));
    }
}
