//! Why the door could not be opened, and why what went through it is no record.

use std::fmt::Write as _;
use std::io;

use super::blocked::{BlockedRequest, Failure};
use super::body_store::BodyStoreError;
use crate::net::tls::UnsupportedProcessor;

/// So many refusals or failures are shown in one error.
const MAX_SHOWN_REQUESTS: usize = 10;

/// What went wrong at the door. Addresses are shown without credentials.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EgressError {
    /// The store of bodies failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    BodyStore(#[from] BodyStoreError),
    /// The processor cannot run the TLS code.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Processor(#[from] UnsupportedProcessor),
    /// Its threads could not be started.
    #[error("failed to start the threads of the door")]
    #[diagnostic(help("see that the limits on processes and open files leave room (`ulimit -a`)"))]
    Threads(#[source] io::Error),
    /// There is no authority for this build's certificates.
    #[error("failed to make this build's certificate authority: {reason}")]
    #[diagnostic(help("the kernel's random numbers must be readable; if they are, tell us"))]
    Authority {
        /// What rcgen or graviola said.
        reason: String,
    },
    /// The client that speaks to the outside could not be set up.
    #[error("failed to set up https towards the outside: {reason}")]
    #[diagnostic(help(
        "check the files that SSL_CERT_FILE and GIT_SSL_CAINFO name, and HTTPS_PROXY and HTTP_PROXY"
    ))]
    Client {
        /// Why.
        reason: String,
    },
    /// A step asked for what it may not have.
    #[error("failed to let {} through the door:{}", count(refusals.len(), "request"), lines(refusals))]
    #[diagnostic(help("{}", BlockedRequest::help(refusals)))]
    Refused {
        /// What was asked, in order.
        refusals: Vec<BlockedRequest>,
    },
    /// A step asked for what could not be had from outside.
    #[error("failed to fetch {} for the build:{}", count(failures.len(), "address"), lines(failures))]
    #[diagnostic(help("{}", Failure::help(failures)))]
    Failed {
        /// What failed for good, in order.
        failures: Vec<Failure>,
    },
}

fn count(number: usize, what: &str) -> String {
    match (number, what) {
        (1, what) => format!("a {what}").replace("a a", "an a"),
        (number, "address") => format!("{number} addresses"),
        (number, what) => format!("{number} {what}s"),
    }
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
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
