//! What all clones of a client share.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

use super::error::RegistryError;
use super::http::Client;
use super::mirrors::Mirrors;
use super::options::RegistryOptions;
use super::timeouts::RetryPolicy;

/// Threads that move bytes; hashing and reading happen on the callers' own.
const RUNTIME_THREADS: usize = 2;

/// What all clones of a [`super::Registry`] and all open readers hold.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) retry_policy: RetryPolicy,
    pub(super) mirrors: Mirrors,
    pub(super) seen_hosts: SeenHosts,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl Shared {
    /// Connects to nothing.
    pub(super) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let (retry_policy, mirrors) = (options.retry_policy.clone(), options.mirrors.clone());
        let client = Client::new(options)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(RegistryError::Runtime)?;
        Ok(Self { client, retry_policy, mirrors, seen_hosts: SeenHosts::default(), runtime: Some(runtime) })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is there until drop")
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Not waited for: a connection may hang, and the last holder may be inside a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The hosts to which a connection was made in this run.
#[derive(Default)]
pub(super) struct SeenHosts(Mutex<BTreeSet<String>>);

impl SeenHosts {
    pub(super) fn add(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    pub(super) fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}
