//! The HTTP clients: one pair for each registry that wants certificates of its own, and one for
//! all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, redirect};

use crate::registry::error::RegistryError;
use crate::registry::mirrors::Mirrors;
use crate::registry::options::RegistryOptions;
use crate::registry::reference::is_host;
use crate::registry::tls::{CertificateDirectories, TlsFiles, wrong_certificate};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// So often is a token's request redirected at most.
const MAX_REDIRECTS: usize = 5;
/// Names us to servers.
const USER_AGENT: &str = concat!("carafe/", env!("CARGO_PKG_VERSION"));
/// The name that Docker Hub's images have, and the host that serves them.
const HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// How one registry is connected to. Cheap to clone.
#[derive(Clone)]
pub(in crate::registry) struct Transport {
    pub(in crate::registry) http: reqwest::Client,
    /// For requests that carry bytes of a blob: the server is silent while we speak, and so these
    /// have a limit of their own.
    pub(in crate::registry) sending: reqwest::Client,
    /// For token servers: it is not redirected to another.
    pub(in crate::registry) tokens: reqwest::Client,
}

/// How all registries are connected to.
pub(in crate::registry) struct Transports {
    insecure: BTreeSet<String>,
    mirrors: Mirrors,
    tls: BTreeMap<String, TlsFiles>,
    directories: CertificateDirectories,
    read_timeout: Duration,
    made: Mutex<BTreeMap<String, Transport>>,
}

impl Transports {
    /// Connects to nothing yet; fails if a host that is named as insecure is no host.
    pub(in crate::registry) fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        if let Some(wrong) = options.insecure.iter().find(|registry| !is_host(registry)) {
            return Err(RegistryError::Host { registry: wrong.clone() });
        }
        Ok(Self {
            insecure: options.insecure.clone(),
            mirrors: options.mirrors.clone(),
            tls: options.tls.clone(),
            directories: options.certificates.clone(),
            read_timeout: options.retry_policy.read_timeout(),
            made: Mutex::default(),
        })
    }

    pub(in crate::registry) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.contains(registry) || self.mirrors.is_insecure(registry)
    }

    /// Scheme and host.
    pub(in crate::registry) fn base(&self, registry: &str) -> String {
        let scheme = if self.is_insecure(registry) { "http" } else { "https" };
        let host = if registry == HUB.0 { HUB.1 } else { registry };
        format!("{scheme}://{host}")
    }

    /// The PEM files for `registry`: the ones that were named, else those in a directory.
    pub(in crate::registry) fn files(&self, registry: &str) -> Result<TlsFiles, RegistryError> {
        self.tls.get(registry).map_or_else(|| self.directories.find(registry), |files| Ok(files.clone()))
    }

    /// The clients for `registry`. Fails where its PEM files, or the machine's, are of no use.
    pub(in crate::registry) fn of(&self, registry: &str) -> Result<Transport, RegistryError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(registry) {
            return Ok(known.clone());
        }
        let files = self.files(registry)?;
        // No host has an empty name: those without files share one pair, and its connections.
        let shared = String::new();
        let is_plain = files == TlsFiles::default() && !self.is_insecure(registry);
        if let Some(known) = made.get(&shared).filter(|_| is_plain).cloned() {
            return Ok(known);
        }
        let transport = self.make(registry, &files)?;
        made.insert(if is_plain { shared } else { registry.to_owned() }, transport.clone());
        Ok(transport)
    }

    fn make(&self, registry: &str, files: &TlsFiles) -> Result<Transport, RegistryError> {
        let (authorities, identity) = files.read(registry)?;
        let builder = |roots: fn(ClientBuilder, Vec<Certificate>) -> ClientBuilder| {
            let builder = reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(CONNECT_TIMEOUT);
            let builder = roots(builder, authorities.clone());
            match &identity {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            }
        };
        let with_systems = || builder(ClientBuilder::tls_certs_merge);
        let alone = || builder(ClientBuilder::tls_certs_only);
        let build = |new: &dyn Fn() -> ClientBuilder| {
            let reading = || new().read_timeout(self.read_timeout);
            let tokens = reading().redirect(within_one_origin()).build()?;
            Ok::<_, reqwest::Error>(Transport { http: reading().build()?, sending: new().build()?, tokens })
        };
        let error = match build(&with_systems) {
            Ok(transport) => return Ok(transport),
            Err(error) => error,
        };
        match (build(&alone), &files.client) {
            // What remains is our own certificate.
            (Err(_), Some((_, key))) => {
                let reason = "it is no key of its certificate, or of a kind that is not supported";
                Err(wrong_certificate(registry, key, reason.to_owned()))
            }
            // The machine has no CAs of its own, and needs none.
            (Ok(transport), _) if !files.ca.is_empty() || self.is_insecure(registry) => Ok(transport),
            _ => Err(RegistryError::NoCaBundle(error)),
        }
    }
}

/// For requests that say who we are in their body, which is sent again to wherever they are
/// redirected: nowhere else.
fn within_one_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let is_same = attempt.previous().last().is_some_and(|asked| asked.origin() == attempt.url().origin());
        match is_same && attempt.previous().len() <= MAX_REDIRECTS {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(insecure: &[&str]) -> Result<Transports, RegistryError> {
        let insecure = insecure.iter().map(|host| (*host).to_owned()).collect();
        Transports::new(&RegistryOptions { insecure, ..RegistryOptions::default() })
    }

    #[test]
    fn plain_http_is_spoken_only_where_named() {
        let hosts = hosts(&["localhost:5000", "[::1]:5000"]).unwrap();
        assert_eq!(hosts.base("localhost:5000"), "http://localhost:5000");
        assert_eq!(hosts.base("[::1]:5000"), "http://[::1]:5000");
        assert_eq!(hosts.base("localhost"), "https://localhost");
        assert_eq!(hosts.base("docker.io"), "https://index.docker.io");
    }

    #[test]
    fn an_insecure_registry_is_a_host() {
        for wrong in ["", "http://a", "a/b", "a b", "u@a", "a/"] {
            assert!(hosts(&[wrong]).is_err(), "{wrong}");
        }
    }
}
