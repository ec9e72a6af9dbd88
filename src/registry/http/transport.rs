//! The HTTP clients: a set for each registry that has its own certificates, and one for all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use carafe_builder::net::docker_hub;
use carafe_builder::net::retry::Timeouts;
use reqwest::{Certificate, ClientBuilder, redirect};

use crate::registry::error::RegistryError;
use crate::registry::mirrors::Mirrors;
use crate::registry::options::RegistryOptions;
use crate::registry::reference::is_host;
use crate::registry::tls::{CertificateDirectories, TlsFiles, certificate_error};

/// Maximum number of redirects of a token request.
const MAX_REDIRECTS: usize = 5;
const USER_AGENT: &str = concat!("carafe/", env!("CARGO_PKG_VERSION"));

/// The HTTP clients for one registry. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    /// For requests that send bytes of a blob. They have no read timeout, because the server sends
    /// nothing meanwhile; the caller limits them.
    pub(crate) sending: reqwest::Client,
    /// For token servers: does not follow redirects to another origin.
    pub(crate) tokens: reqwest::Client,
}

/// The HTTP clients for all registries, created on demand.
pub(crate) struct Transports {
    insecure: BTreeSet<String>,
    mirrors: Mirrors,
    tls: BTreeMap<String, TlsFiles>,
    directories: CertificateDirectories,
    timeouts: Timeouts,
    created: Mutex<BTreeMap<String, Transport>>,
}

impl Transports {
    /// Connects to nothing. Fails if an insecure host is not a valid host.
    pub(crate) fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        if let Some(invalid) = options.insecure.iter().find(|registry| !is_host(registry)) {
            return Err(RegistryError::Host { registry: invalid.clone() });
        }
        Ok(Self {
            insecure: options.insecure.clone(),
            mirrors: options.mirrors.clone(),
            tls: options.tls.clone(),
            directories: options.certificates.clone(),
            timeouts: options.retries.policy.timeouts,
            created: Mutex::default(),
        })
    }

    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.contains(registry) || self.mirrors.is_insecure(registry)
    }

    /// Scheme and host of the registry's API.
    pub(crate) fn base(&self, registry: &str) -> String {
        let scheme = if self.is_insecure(registry) { "http" } else { "https" };
        format!("{scheme}://{}", docker_hub::api_host(registry))
    }

    /// The PEM files for `registry`: the configured ones, else those in a directory.
    pub(crate) fn files(&self, registry: &str) -> Result<TlsFiles, RegistryError> {
        self.tls.get(registry).map_or_else(|| self.directories.find(registry), |files| Ok(files.clone()))
    }

    /// The clients for `registry`. Fails if its PEM files, or the machine's, are invalid.
    pub(crate) fn get(&self, registry: &str) -> Result<Transport, RegistryError> {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = created.get(registry) {
            return Ok(transport.clone());
        }
        let files = self.files(registry)?;
        // All registries without files share one set and its connections. No host has an empty name.
        let shared = String::new();
        let is_shared = files == TlsFiles::default() && !self.is_insecure(registry);
        if let Some(transport) = created.get(&shared).filter(|_| is_shared).cloned() {
            return Ok(transport);
        }
        let transport = self.create(registry, &files)?;
        created.insert(if is_shared { shared } else { registry.to_owned() }, transport.clone());
        Ok(transport)
    }

    fn create(&self, registry: &str, files: &TlsFiles) -> Result<Transport, RegistryError> {
        let (authorities, identity) = files.read(registry)?;
        let connect_timeout = self.timeouts.connect;
        let builder = |roots: fn(ClientBuilder, Vec<Certificate>) -> ClientBuilder| {
            let builder = reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(connect_timeout);
            let builder = roots(builder, authorities.clone());
            match &identity {
                Some(identity) => builder.identity(identity.clone()),
                None => builder,
            }
        };
        let with_system_cas = || builder(ClientBuilder::tls_certs_merge);
        let without_system_cas = || builder(ClientBuilder::tls_certs_only);
        let build = |new: &dyn Fn() -> ClientBuilder| {
            let reading = || new().read_timeout(self.timeouts.read);
            let tokens = reading().redirect(same_origin_redirects()).build()?;
            Ok::<_, reqwest::Error>(Transport { http: reading().build()?, sending: new().build()?, tokens })
        };
        let error = match build(&with_system_cas) {
            Ok(transport) => return Ok(transport),
            Err(error) => error,
        };
        match (build(&without_system_cas), &files.client) {
            // The CAs are valid, so the client certificate is not.
            (Err(_), Some((_, key))) => {
                let reason = "it is not the key of its certificate, or its type is not supported";
                Err(certificate_error(registry, key, reason.to_owned()))
            }
            // The machine has no CA bundle, and needs none for this registry.
            (Ok(transport), _) if !files.ca.is_empty() || self.is_insecure(registry) => Ok(transport),
            _ => Err(RegistryError::NoCaBundle(error)),
        }
    }
}

/// For requests with a credential in their body, which a redirect sends again: only to the same
/// origin.
fn same_origin_redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let is_same = attempt.previous().last().is_some_and(|last| last.origin() == attempt.url().origin());
        match is_same && attempt.previous().len() <= MAX_REDIRECTS {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transports(insecure: &[&str]) -> Result<Transports, RegistryError> {
        let insecure = insecure.iter().map(|host| (*host).to_owned()).collect();
        Transports::new(&RegistryOptions { insecure, ..RegistryOptions::default() })
    }

    #[test]
    fn uses_plain_http_only_for_insecure_hosts() {
        let transports = transports(&["localhost:5000", "[::1]:5000"]).unwrap();
        assert_eq!(transports.base("localhost:5000"), "http://localhost:5000");
        assert_eq!(transports.base("[::1]:5000"), "http://[::1]:5000");
        assert_eq!(transports.base("localhost"), "https://localhost");
        assert_eq!(transports.base("docker.io"), "https://index.docker.io");
    }

    #[test]
    fn rejects_an_insecure_registry_that_is_not_a_host() {
        for invalid in ["", "http://a", "a/b", "a b", "u@a", "a/"] {
            assert!(transports(&[invalid]).is_err(), "{invalid}");
        }
    }
}
