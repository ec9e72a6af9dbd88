//! The registry client with Debian's docker-registry, and with a fake registry that has faults.

mod auth;
#[path = "../common/certificates.rs"]
mod certificates;
mod clock;
mod doctor;
mod endurance;
mod faults;
mod faulty;
mod harbor;
mod http2;
mod images;
mod kill;
mod listing;
mod memory;
mod mirrors;
mod nginx;
mod proxy;
mod pull_faults;
mod pulls;
mod push;
mod push_faults;
mod referrers;
mod retry;
mod secrets;
#[path = "../common/registry.rs"]
mod server;
mod store;
mod table;
mod tls;
mod tokens;
mod upload_queue;
mod uploads;

use std::process::Command;
use std::sync::Arc;

use carafe::registry::{CredentialFiles, Reference, Registry, RegistryOptions, RetryOptions};

use crate::clock::QuickClock;

/// A client without credentials that uses plain HTTP for `address`.
fn client(address: &str) -> Registry {
    client_with(address, CredentialFiles::default())
}

fn client_with(address: &str, files: CredentialFiles) -> Registry {
    let insecure = [address.to_owned()].into();
    Registry::new(RegistryOptions { insecure, files, retries: quick(), ..RegistryOptions::default() })
        .unwrap()
}

/// The default retries, without pauses.
fn quick() -> RetryOptions {
    RetryOptions::default().with_clock(Arc::new(QuickClock::default()))
}

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

/// An error with all its causes and help texts, as a user sees it.
fn shown(error: impl miette::Diagnostic + Send + Sync + 'static) -> String {
    let mut text = format!("{:?}", miette::Report::new(error));
    text = text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    text
}

/// Runs the test `test` of this binary again, in a process whose environment has `variables` and,
/// as `CARAFE_TEST_ADDRESS`, `address`. The environment of this process does not change, because
/// other tests use it.
fn in_environment(test: &str, address: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CARAFE_TEST_ADDRESS", address)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The address, in the process that [`in_environment`] starts.
fn inside() -> Option<String> {
    std::env::var("CARAFE_TEST_ADDRESS").ok()
}
