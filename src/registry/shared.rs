//! What all clones of a client share.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

use super::failure::RegistryError;
use super::options::RegistryOptions;
use super::patience::Patience;
use super::places::Places;
use super::wire::Client;

/// Threads that move bytes; hashing and reading happen on the callers' own.
const RUNTIME_THREADS: usize = 2;

/// What all clones of a [`super::Registry`] and all open readers hold.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) patience: Patience,
    pub(super) places: Places,
    pub(super) met: Met,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl Shared {
    /// Connects to nothing.
    pub(super) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let (patience, places) = (options.patience.clone(), options.places.clone());
        let client = Client::new(options)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(RegistryError::Runtime)?;
        Ok(Self { client, patience, places, met: Met::default(), runtime: Some(runtime) })
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
pub(super) struct Met(Mutex<BTreeSet<String>>);

impl Met {
    pub(super) fn add(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    pub(super) fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}
