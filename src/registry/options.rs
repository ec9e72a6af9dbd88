//! How registries are spoken to: everything that a user may set.

use std::collections::{BTreeMap, BTreeSet};

use carafe_builder::cache::Bucket;

use super::auth::{Credential, CredentialFiles};
use super::error::RegistryError;
use super::mirrors::Mirrors;
use super::reference::Repository;
use super::timeouts::RetryPolicy;
use super::tls::{CertificateDirectories, TlsFiles};

/// How registries are spoken to.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Hosts, with their port, that are spoken to over plain HTTP: `localhost:5000`.
    pub insecure: BTreeSet<String>,
    /// Credentials by host; they go before those in `files`, and to no other host.
    pub credentials: BTreeMap<String, Credential>,
    /// Where credentials are looked up for all other hosts.
    pub files: CredentialFiles,
    /// PEM files by host; they go before those in `certificates`.
    pub tls: BTreeMap<String, TlsFiles>,
    /// Where PEM files are looked up for all other hosts.
    pub certificates: CertificateDirectories,
    /// Mirrors, other locations, and what is blocked.
    pub mirrors: Mirrors,
    /// What is tried again, and who is told.
    pub retry_policy: RetryPolicy,
    /// Where open uploads are noted, so that the next run goes on inside a blob; without it, it
    /// does not.
    pub uploads: Option<Bucket>,
}

impl RegistryOptions {
    /// What this machine says: docker's and podman's files, and for the registries of
    /// `targets` `CARAFE_USERNAME` and `CARAFE_PASSWORD`. Those two are for where one pushes to;
    /// a base's registry never sees them. Fails where a `registries.conf` is broken, or blocks a
    /// target.
    pub fn from_environment<'a>(
        targets: impl IntoIterator<Item = &'a Repository>,
    ) -> Result<Self, RegistryError> {
        let mirrors = Mirrors::from_environment()?;
        let mut credentials = BTreeMap::new();
        for target in targets {
            let place = mirrors.locate(target)?;
            credentials
                .extend(Credential::from_environment().map(|known| (place.registry().to_owned(), known)));
        }
        Ok(Self {
            mirrors,
            credentials,
            files: CredentialFiles::from_environment(),
            certificates: CertificateDirectories::from_environment(),
            ..Self::default()
        })
    }
}
