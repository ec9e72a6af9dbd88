//! Requests that were blocked, and requests that failed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use carafe_layers::digest::Digest;

use crate::net::PublicUrl;

/// Maximum number of blocked requests that are kept: a hostile build may send any number.
const MAX_BLOCKED_REQUESTS: usize = 1000;

/// A process in the sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerProcess {
    /// Its process ID on this machine.
    pub pid: u32,
    /// Its command line, shortened, without control characters and secrets.
    pub command: String,
}

/// Why a request was blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockReason {
    /// The recording has no response for it.
    NotRecorded,
    /// The recording has a response, the body store lacks its body, and nothing may be fetched.
    BodyMissing {
        /// The body's digest.
        body: Digest,
    },
    /// Its host has a private address.
    PrivateAddress {
        /// The host, with the address that it resolves to.
        address: String,
    },
    /// A build may not use its method.
    Method,
    /// It is not valid HTTP, or exceeds a limit.
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// It bypassed the egress proxy: a DNS query, or a direct connection.
    Bypass,
}

/// A request that was blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockedRequest {
    /// The process that sent it, if it was found.
    pub peer: Option<PeerProcess>,
    /// The method as it was sent; for [`BlockReason::Bypass`] `DNS` or `TCP`.
    pub method: String,
    /// The URL without credentials; for [`BlockReason::Bypass`] a name, or an address and port.
    pub url: String,
    /// Why.
    pub reason: BlockReason,
}

impl BlockedRequest {
    /// What to do about these requests, each advice once. Empty if there are none.
    pub fn help(requests: &[Self]) -> String {
        let mut advice: Vec<_> = requests.iter().map(|request| request.reason.advice()).collect();
        advice.sort_unstable();
        advice.dedup();
        advice.join("; ")
    }

    /// The body of the response that the client gets.
    pub(super) fn response_text(&self) -> String {
        format!("carafe blocked {} {}: {}\n{}\n", self.method, self.url, self.reason, self.reason.advice())
    }
}

impl BlockReason {
    fn advice(&self) -> &'static str {
        match self {
            Self::NotRecorded => {
                "record it with `carafe build --update=HOST` or `--update=PACKAGE`, or everything again with \
                 `carafe build --update`"
            }
            Self::BodyMissing { .. } => {
                "build without `--offline`, or from a bundle that has the body (`carafe build --bundle`)"
            }
            Self::PrivateAddress { .. } => {
                "if the build may reach the host, add it to `private-hosts` of `[network]`"
            }
            Self::Method => "a build may send GET, HEAD and POST requests only",
            Self::Malformed { .. } => "see the limits of the egress proxy in docs/egress-proxy.md",
            Self::Bypass => {
                "configure the program to use http_proxy and https_proxy: the sandbox has no other network"
            }
        }
    }

    /// The HTTP status of the response that the client gets.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::NotRecorded | Self::PrivateAddress { .. } | Self::Bypass => 403,
            Self::BodyMissing { .. } => 504,
            Self::Method => 405,
            Self::Malformed { .. } => 400,
        }
    }
}

impl fmt::Display for BlockReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded => f.write_str("the recording has no response for it"),
            Self::BodyMissing { body } => {
                write!(f, "the body store lacks its body {body}, and nothing may be fetched")
            }
            Self::PrivateAddress { address } => write!(f, "{address} is a private address"),
            Self::Method => f.write_str("a build may not use this method"),
            Self::Malformed { reason } => f.write_str(reason),
            Self::Bypass => f.write_str("it bypassed the egress proxy"),
        }
    }
}

impl fmt::Display for PeerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.command, self.pid)
    }
}

impl fmt::Display for BlockedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.reason)?;
        self.peer.iter().try_for_each(|peer| write!(f, "; sent by {peer}"))
    }
}

/// A request to an upstream server that failed after all attempts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedRequest {
    /// The method.
    pub method: String,
    /// The public URL.
    pub url: String,
    /// The last failure, without secrets.
    pub reason: String,
    /// Whether the recording has a response, and only its body was missing.
    pub is_recorded: bool,
}

impl FailedRequest {
    /// What to do about these requests, each advice once. Empty if there are none.
    pub fn help(requests: &[Self]) -> String {
        let (recorded, new): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.is_recorded);
        let mut advice = Vec::new();
        if !recorded.is_empty() {
            let hosts: BTreeSet<_> = recorded.iter().filter_map(|request| request.host()).collect();
            let updates: Vec<_> = hosts.iter().map(|host| format!("`--update={host}`")).collect();
            advice.push(format!(
                "the recording has digests whose bodies are not in the cache: build again when the server \
                 works; if its content has changed, get the bodies from the machine that recorded, as a \
                 bundle (`carafe bundle` there, `carafe build --bundle` here) or with its cache \
                 (CARAFE_CACHE_DIR), or record the current content with {}",
                updates.join(", ")
            ));
        }
        if !new.is_empty() {
            advice.push(
                "a recording without these responses cannot be replayed: build again when the server works, \
                 use a mirror (`[mirrors]`), or add a host that the build does not need to `refused-hosts` of \
                 `[network]`"
                    .to_owned(),
            );
        }
        advice.join("; ")
    }

    fn host(&self) -> Option<String> {
        self.url.parse::<PublicUrl>().ok().map(|url| url.host().to_owned())
    }
}

impl fmt::Display for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.reason)
    }
}

/// The blocked requests of all threads, each once, up to [`MAX_BLOCKED_REQUESTS`].
#[derive(Default, Debug)]
pub(super) struct BlockedRequests(Mutex<Vec<BlockedRequest>>);

impl BlockedRequests {
    /// Adds one, unless it is a duplicate or the list is full.
    pub fn add(&self, request: BlockedRequest) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < MAX_BLOCKED_REQUESTS && !requests.contains(&request) {
            requests.push(request);
        }
    }

    /// Whether further requests are dropped.
    pub fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= MAX_BLOCKED_REQUESTS
    }

    /// All so far, in order.
    pub fn all(&self) -> Vec<BlockedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(url: &str, is_recorded: bool) -> FailedRequest {
        let (method, reason) = ("GET".to_owned(), "the server returned 503".to_owned());
        FailedRequest { method, url: url.to_owned(), reason, is_recorded }
    }

    #[test]
    fn recorded_and_new_requests_have_different_advice() {
        let recorded = ["https://b.example/1", "https://a.example:8080/2", "https://b.example/3"];
        let mut requests: Vec<_> = recorded.iter().map(|url| failed(url, true)).collect();
        let help = FailedRequest::help(&requests);
        assert!(help.ends_with("content with `--update=a.example`, `--update=b.example`"), "{help}");
        assert!(!help.contains("`refused-hosts`"), "{help}");
        requests.push(failed("https://c.example/", false));
        let both = FailedRequest::help(&requests);
        assert!(both.starts_with(&help) && both.contains("`refused-hosts`") && !both.contains("c.example"));
        assert!(!FailedRequest::help(&requests[3..]).contains("--update"));
        assert_eq!(FailedRequest::help(&[]), "");
    }
}
