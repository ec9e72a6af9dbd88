//! Errors of the egress proxy.

use std::fmt::{Display, Write as _};
use std::io;

use super::blocked::{BlockedRequest, FailedRequest};
use super::body_store::BodyStoreError;
use crate::net::tls::UnsupportedProcessor;

/// Maximum number of requests that one error lists.
const MAX_SHOWN_REQUESTS: usize = 10;

/// Why the egress proxy could not start, or what a build could not get through it. URLs are shown
/// without credentials.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EgressError {
    /// The body store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    BodyStore(#[from] BodyStoreError),
    /// The processor cannot run the TLS code.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Processor(#[from] UnsupportedProcessor),
    /// The threads could not be started.
    #[error("failed to start the threads of the egress proxy")]
    #[diagnostic(help("raise the limits on processes and open files (`ulimit -a` shows them)"))]
    Threads(#[source] io::Error),
    /// The certificate authority could not be created.
    #[error("failed to create the build's certificate authority: {reason}")]
    #[diagnostic(help(
        "check that the kernel's random number generator is available; if it is, report this"
    ))]
    CertificateAuthority {
        /// The error of rcgen or graviola.
        reason: String,
    },
    /// The HTTP client could not be created.
    #[error("failed to set up the HTTP client of the egress proxy: {reason}")]
    #[diagnostic(help(
        "check the files that SSL_CERT_FILE and GIT_SSL_CAINFO name, and HTTPS_PROXY and HTTP_PROXY"
    ))]
    Client {
        /// The cause.
        reason: String,
    },
    /// Requests of a step were blocked.
    #[error("blocked {} of the build:{}", count(requests.len(), "network request"), list(requests))]
    #[diagnostic(help("{}", BlockedRequest::help(requests)))]
    Blocked {
        /// The requests, in order.
        requests: Vec<BlockedRequest>,
    },
    /// Upstream requests of a step failed.
    #[error("failed to fetch {} for the build:{}", count(requests.len(), "URL"), list(requests))]
    #[diagnostic(help("{}", FailedRequest::help(requests)))]
    Fetch {
        /// The requests that failed after all attempts, in order.
        requests: Vec<FailedRequest>,
    },
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn list<T: Display>(items: &[T]) -> String {
    let mut text = String::new();
    for item in items.iter().take(MAX_SHOWN_REQUESTS) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {item}");
    }
    if items.len() > MAX_SHOWN_REQUESTS {
        let _ = write!(text, "\n  and {} more", items.len() - MAX_SHOWN_REQUESTS);
    }
    text
}
