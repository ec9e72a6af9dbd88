//! What did not go through the door, and who had asked.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::net::PublicUrl;

/// So many are kept; a hostile build may ask without end.
const MAX_BLOCKED_REQUESTS: usize = 1000;

/// A process inside, as far as the kernel told who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerProcess {
    /// Its number on this machine.
    pub pid: u32,
    /// Its command line, shortened, without control characters and secrets.
    pub command: String,
}

/// Why something was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The record has no answer for it.
    NotInRecord,
    /// The record has one, its body is not here, and nothing may be fetched.
    NoBody {
        /// The body's digest.
        body: carafe_layers::digest::Digest,
    },
    /// It would reach an address of a private network.
    Private {
        /// The host, and what it stands for.
        address: String,
    },
    /// A build does not do such a thing.
    Method,
    /// It is no request that can be understood, or larger than allowed.
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// It went past the proxy: a name was asked for, or an address connected to.
    NoProxy,
}

/// A request that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockedRequest {
    /// Who asked, if that could be found out.
    pub peer: Option<PeerProcess>,
    /// The method as it was sent; for [`Reason::NoProxy`] `DNS` or `TCP`.
    pub method: String,
    /// The address without credentials; for [`Reason::NoProxy`] a name, or an address and port.
    pub url: String,
    /// Why.
    pub reason: Reason,
}

impl BlockedRequest {
    /// What to do about these, each advice once. Empty if there are none.
    pub fn help(refusals: &[Self]) -> String {
        let mut advice: Vec<_> = refusals.iter().map(|refusal| refusal.reason.advice()).collect();
        advice.sort_unstable();
        advice.dedup();
        advice.join("; ")
    }

    /// What the process inside is told.
    pub(super) fn told(&self) -> String {
        format!("carafe refused {} {}: {}\n{}\n", self.method, self.url, self.reason, self.reason.advice())
    }
}

impl Reason {
    fn advice(&self) -> &'static str {
        match self {
            Self::NotInRecord => {
                "`carafe build --update` records again, `--update=HOST` or `--update=PACKAGE` only what \
                 belongs to it"
            }
            Self::NoBody { .. } => {
                "build without `--offline`, or from a bundle that has it (`carafe build --bundle`)"
            }
            Self::Private { .. } => {
                "if the build may reach it, name the host in `private-hosts` of `[network]`"
            }
            Self::Method => "a build reads with GET, HEAD and POST; nothing else goes through the door",
            Self::Malformed { .. } => "see what the program sent; this is a limit of the door",
            Self::NoProxy => "the program must honour http_proxy and https_proxy; there is no other way out",
        }
    }

    /// The HTTP status that says so.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::NotInRecord | Self::Private { .. } | Self::NoProxy => 403,
            Self::NoBody { .. } => 504,
            Self::Method => 405,
            Self::Malformed { .. } => 400,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInRecord => f.write_str("it is not in the record"),
            Self::NoBody { body } => write!(f, "its body {body} is not here, and nothing may be fetched"),
            Self::Private { address } => write!(f, "{address} belongs to a private network"),
            Self::Method => f.write_str("a build does not use this method"),
            Self::Malformed { reason } => f.write_str(reason),
            Self::NoProxy => f.write_str("it went past the proxy"),
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
        self.peer.iter().try_for_each(|peer| write!(f, "; asked by {peer}"))
    }
}

/// An answer that could not be had from outside after all tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The method.
    pub method: String,
    /// The public address.
    pub url: String,
    /// What happened last, without secrets.
    pub reason: String,
    /// Whether the record has the answer, and only its body was missing here.
    pub is_recorded: bool,
}

impl Failure {
    /// What to do about these, each advice once. Empty if there are none.
    pub fn help(failures: &[Self]) -> String {
        let (recorded, new): (Vec<_>, Vec<_>) = failures.iter().partition(|failure| failure.is_recorded);
        let mut advice = Vec::new();
        if !recorded.is_empty() {
            let hosts: BTreeSet<_> = recorded.iter().filter_map(|failure| failure.host()).collect();
            let updates: Vec<_> = hosts.iter().map(|host| format!("`--update={host}`")).collect();
            advice.push(format!(
                "the record has the digests of these, and this machine not their bodies: build again when \
                 the server is well; where it has moved on, take them from the machine that recorded, as \
                 a bundle (`carafe bundle` there, `carafe build --bundle` here) or in its cache \
                 (CARAFE_CACHE_DIR), or record anew on purpose with {}",
                updates.join(", ")
            ));
        }
        if !new.is_empty() {
            advice.push(
                "what failed is in no record, so a replay could not answer it: build again when the \
                 server is well, give another by `[mirrors]`, or name a host that the build can do \
                 without in `refused-hosts` of `[network]`"
                    .to_owned(),
            );
        }
        advice.join("; ")
    }

    fn host(&self) -> Option<String> {
        self.url.parse::<PublicUrl>().ok().map(|url| url.host().to_owned())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.reason)
    }
}

/// Collects them from many threads, each once, and no more than a person would read.
#[derive(Debug)]
pub(super) struct Collected<T>(Mutex<Vec<T>>);

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + PartialEq> Collected<T> {
    /// Adds one, unless it is there or there are too many.
    pub fn add(&self, item: T) {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() < MAX_BLOCKED_REQUESTS && !items.contains(&item) {
            items.push(item);
        }
    }

    /// Whether further ones are dropped.
    pub fn is_full(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= MAX_BLOCKED_REQUESTS
    }

    /// All so far.
    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(url: &str, is_recorded: bool) -> Failure {
        let (method, reason) = ("GET".to_owned(), "it answers 503".to_owned());
        Failure { method, url: url.to_owned(), reason, is_recorded }
    }

    #[test]
    fn what_is_recorded_and_what_is_not_get_advice_of_their_own() {
        let recorded = ["https://b.example/1", "https://a.example:8080/2", "https://b.example/3"];
        let mut failures: Vec<_> = recorded.iter().map(|url| failure(url, true)).collect();
        let help = Failure::help(&failures);
        assert!(help.ends_with("on purpose with `--update=a.example`, `--update=b.example`"), "{help}");
        assert!(!help.contains("`refused-hosts`"), "{help}");
        failures.push(failure("https://c.example/", false));
        let both = Failure::help(&failures);
        assert!(both.starts_with(&help) && both.contains("`refused-hosts`") && !both.contains("c.example"));
        assert!(!Failure::help(&failures[3..]).contains("--update"));
        assert_eq!(Failure::help(&[]), "");
    }
}
