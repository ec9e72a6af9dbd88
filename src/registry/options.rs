//! The settings of the registry client.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carafe_builder::cache::Bucket;
use carafe_builder::net::Credential;
use carafe_builder::net::retry::{Clock, RetryPolicy, SystemClock, Timeouts};
use carafe_builder::progress::Progress;

use super::auth::{CredentialFiles, environment_credential};
use super::error::RegistryError;
use super::mirrors::Mirrors;
use super::reference::Repository;
use super::tls::{CertificateDirectories, TlsFiles};

/// The settings of the registry client.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Hosts, with their port, for which plain HTTP is used: `localhost:5000`.
    pub insecure: BTreeSet<String>,
    /// Credentials by host. They take precedence over `files`, and are sent to no other host.
    pub credentials: BTreeMap<String, Credential>,
    /// The files with credentials for all other hosts.
    pub files: CredentialFiles,
    /// PEM files by host. They take precedence over `certificates`.
    pub tls: BTreeMap<String, TlsFiles>,
    /// The directories with PEM files for all other hosts.
    pub certificates: CertificateDirectories,
    /// Mirrors, other locations, and blocked repositories.
    pub mirrors: Mirrors,
    /// How failed requests are sent again.
    pub retries: RetryOptions,
    /// Where open uploads are stored, so that the next run resumes inside a blob. `None`: they are
    /// not resumed by the next run.
    pub uploads: Option<Bucket>,
}

impl RegistryOptions {
    /// This machine's configuration: docker's and podman's files, and for the registries of `targets`
    /// `CARAFE_USERNAME` and `CARAFE_PASSWORD`. Those two are for registries that are pushed to; they
    /// are never sent to the registry of a base image. Fails if a `registries.conf` is invalid, or
    /// blocks a target.
    pub fn from_environment<'a>(
        targets: impl IntoIterator<Item = &'a Repository>,
    ) -> Result<Self, RegistryError> {
        let mirrors = Mirrors::from_environment()?;
        let mut credentials = BTreeMap::new();
        for target in targets {
            let host = mirrors.locate(target)?.registry().to_owned();
            credentials.extend(environment_credential().map(|credential| (host, credential)));
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

/// How failed requests are sent again, and where the warnings go.
#[derive(Clone)]
pub struct RetryOptions {
    pub(crate) policy: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    /// Receives a warning for each retry.
    pub(crate) progress: Progress,
}

impl RetryOptions {
    /// The default policy, with the machine's clock.
    pub fn new(progress: Progress) -> Self {
        Self { policy: RetryPolicy::default(), clock: Arc::new(SystemClock::start()), progress }
    }

    /// With another clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// With another maximum time without a byte from the registry. A request that sends a chunk of a
    /// blob may take five times as long.
    pub fn with_read_timeout(mut self, read: Duration) -> Self {
        self.policy.timeouts = Timeouts { read, ..self.policy.timeouts };
        self
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self::new(Progress::silent())
    }
}

impl fmt::Debug for RetryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryOptions").field("policy", &self.policy).finish_non_exhaustive()
    }
}
