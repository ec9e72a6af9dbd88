//! Runs requests from blocking code, and sends them again after temporary failures.
//!
//! One retry policy applies to every request. An attempt is one request, or one chunk of a blob: any
//! progress gives the next one the complete budget again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use carafe_builder::net::retry::RetryState;
use tokio::runtime::{Builder, Runtime};

use super::error::{RegistryError, RequestContext};
use super::http::Client;
use super::options::{RegistryOptions, RetryOptions};

/// Threads that send and receive. Hashing and reading run on the threads of the callers.
const RUNTIME_THREADS: usize = 2;

/// The state that all clones of a [`super::Registry`] and all open readers share.
pub(crate) struct Executor {
    pub(crate) client: Client,
    retries: RetryOptions,
    seen_hosts: SeenHosts,
    /// `None` only during the drop.
    runtime: Option<Runtime>,
}

impl Executor {
    /// Connects to nothing.
    pub(crate) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let retries = options.retries.clone();
        let client = Client::new(options)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(RegistryError::Runtime)?;
        Ok(Self { client, retries, seen_hosts: SeenHosts::default(), runtime: Some(runtime) })
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime exists until the drop")
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }

    /// Reports a failure that does not end the action.
    pub(crate) fn warn(&self, message: String) {
        self.retries.progress.warn(message);
    }

    /// Runs `request` until it succeeds, fails permanently, or the retry budget is used up.
    pub(crate) fn with_retries<T>(
        &self,
        context: &RequestContext<'_>,
        mut request: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut attempts = Attempts::default();
        loop {
            match request() {
                Ok(result) => {
                    self.mark_seen(context);
                    return Ok(result);
                }
                Err(error) => self.wait_for_retry(context, &mut attempts, error)?,
            }
        }
    }

    /// Returns after a pause if the request can be sent again after `error`, else returns the error.
    pub(crate) fn wait_for_retry(
        &self,
        context: &RequestContext<'_>,
        attempts: &mut Attempts,
        error: RegistryError,
    ) -> Result<(), RegistryError> {
        // A token can expire at any time. If a new one is rejected too, the cause is another.
        if matches!(error, RegistryError::Unauthorized { .. }) && !attempts.has_new_token {
            attempts.has_new_token = true;
            return if self.block_on(self.client.auth.discard(context)) { Ok(()) } else { Err(error) };
        }
        if !error.is_temporary() {
            return Err(error);
        }
        let is_unreachable = matches!(error, RegistryError::Unreachable { .. });
        let is_unproven = context.is_mirror || (is_unreachable && !self.seen_hosts.contains(context.host()));
        if !is_unreachable {
            self.mark_seen(context);
        }
        let RetryOptions { policy, clock, .. } = &self.retries;
        let max_attempts = if is_unproven { policy.max_attempts_unproven } else { policy.max_attempts };
        let Ok(pause) = attempts.state.next(policy, max_attempts, &**clock, error.retry_after()) else {
            return Err(error);
        };
        let (seconds, next) = (pause.as_secs_f32(), attempts.failures() + 1);
        self.warn(format!("{error}; retrying in {seconds:.1} s (attempt {next} of {max_attempts})"));
        clock.sleep(pause);
        Ok(())
    }

    /// Remembers that a connection to the registry of `context` was made.
    pub(crate) fn mark_seen(&self, context: &RequestContext<'_>) {
        self.seen_hosts.add(context.host());
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Without waiting: a connection may hang, and the last owner may be a task of the runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The failed attempts of one request.
#[derive(Default)]
pub(crate) struct Attempts {
    state: RetryState,
    has_new_token: bool,
}

impl Attempts {
    pub(crate) fn failures(&self) -> u32 {
        self.state.failures()
    }
}

/// The hosts to which a connection was made in this run.
#[derive(Default)]
struct SeenHosts(Mutex<BTreeSet<String>>);

impl SeenHosts {
    fn add(&self, host: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    fn contains(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }
}
