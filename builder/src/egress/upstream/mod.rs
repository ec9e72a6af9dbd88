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

use crate::net::{Credential, Mirror, Proxies};

pub(super) use client::Client;
pub(super) use fetch::{NoResponse, UpstreamRequest};

/// What the user said about the outside. None of it is seen inside or in a record.
#[derive(Clone, Default)]
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
    /// How long to wait for servers that are slow or failing.
    pub retry_policy: RetryPolicy,
}

impl Upstream {
    /// What no output may contain: the secrets of credentials and proxies.
    pub fn secrets(&self) -> Vec<crate::secret::Secret> {
        self.credentials.values().flat_map(Credential::secrets).chain(self.proxies.secrets()).collect()
    }
}

/// When a server has failed, and how often it is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// A request is sent so often at most.
    pub tries: u32,
    /// To make a connection.
    pub connect: Duration,
    /// A server that says nothing for so long has failed.
    pub silence: Duration,
    /// Before the second try; doubled before each further one.
    pub first_pause: Duration,
    /// No pause is longer, whatever a server asks for.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}
