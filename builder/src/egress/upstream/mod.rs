//! The outside: where an address is fetched from, with which credential, and what is off limits.

mod address_filter;
mod client;
mod content_check;
mod fetch;
mod mismatch;
mod partial;
mod pkt_line;
mod presigned_url;
mod recheck;
mod response_head;
mod retry;
mod simple_api;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::net::retry::RetryPolicy;
use crate::net::{Credential, Mirror, Proxies};

pub(super) use client::Client;
pub(super) use fetch::{NoResponse, UpstreamRequest};

/// What the user said about the outside. None of it is seen inside or in a record.
#[derive(Clone)]
pub struct Upstream {
    /// Where else to fetch from; the longest prefix that fits wins.
    pub mirrors: Vec<Mirror>,
    /// By `host` or `host:port`, of the mirror where one is used. Sent to that host alone.
    pub credentials: BTreeMap<String, Credential>,
    /// Hosts (`host` or `host:port`) that may be reached although their address is a private
    /// one. Those of mirrors need not be named.
    pub private_hosts: BTreeSet<String>,
    /// Names of hosts that are never asked: whoever asks for them is told that nothing is there.
    pub refused_hosts: BTreeSet<String>,
    /// Certificates (PEM files) of authorities that are trusted besides the machine's.
    pub authorities: Vec<PathBuf>,
    /// The user's proxies.
    pub proxies: Proxies,
    /// Nothing is fetched: all is answered from the store.
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
    /// Five attempts. Fewer than a registry gets, and with no long `Retry-After`: the client in the
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
    pub fn secrets(&self) -> Vec<crate::secret::Secret> {
        self.credentials.values().flat_map(Credential::secrets).chain(self.proxies.secrets()).collect()
    }
}
