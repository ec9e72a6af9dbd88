//! How upstream servers are reached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::net::retry::RetryPolicy;
use crate::net::{Credential, Mirror, Proxies};
use crate::secret::Secret;

/// The user's network settings. Neither the sandbox nor the recording contains any of them.
#[derive(Clone)]
pub struct Upstream {
    /// Mirrors; the longest matching prefix wins.
    pub mirrors: Vec<Mirror>,
    /// By `host` or `host:port`, of the mirror if there is one. Sent to that host only.
    pub credentials: BTreeMap<String, Credential>,
    /// Hosts (`host` or `host:port`) that may be reached although they have a private address.
    /// Those of mirrors need not be listed.
    pub private_hosts: BTreeSet<String>,
    /// Names of hosts that are never contacted: every request for them gets a 404.
    pub refused_hosts: BTreeSet<String>,
    /// PEM files with CA certificates that are trusted in addition to the system's.
    pub authorities: Vec<PathBuf>,
    /// The user's proxies.
    pub proxies: Proxies,
    /// Nothing is fetched: every response and body must be recorded and stored.
    pub offline: bool,
    /// When a failed request is sent again.
    pub retry_policy: RetryPolicy,
}

impl Default for Upstream {
    /// The system's CAs, the environment's proxies, and no special hosts.
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            credentials: BTreeMap::new(),
            private_hosts: BTreeSet::new(),
            refused_hosts: BTreeSet::new(),
            authorities: Vec::new(),
            proxies: Proxies::default(),
            offline: false,
            retry_policy: Self::retry_policy(),
        }
    }
}

impl Upstream {
    /// Five attempts. Fewer than for a registry, and no long `Retry-After`: the client in the
    /// sandbox waits for the response meanwhile, has a timeout of its own, and retries too.
    pub fn retry_policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            max_attempts_unproven: 5,
            budget: None,
            max_retry_after: Some(Duration::from_secs(30)),
            ..RetryPolicy::default()
        }
    }

    /// What no output may contain: the secrets of credentials and proxies.
    pub fn secrets(&self) -> Vec<Secret> {
        self.credentials.values().flat_map(Credential::secrets).chain(self.proxies.secrets()).collect()
    }
}
