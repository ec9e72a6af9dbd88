//! The egress proxy itself: its threads, and the report at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::blocked::{BlockedRequest, BlockedRequests, FailedRequest};
use super::body_store::BodyStore;
use super::bypass::{deny_dns, reset_connections};
use super::certificate_authority::CertificateAuthority;
use super::error::EgressError;
use super::recording::Recording;
use super::replay_cache::ReplayCache;
use super::request::MemoryBudget;
use super::server;
use super::state::ProxyState;
use super::update::{Mode, RecordingChange};
use super::upstream::{Client, Upstream};
use crate::progress::Progress;
use crate::sandbox::{ProxyHandle, ProxySockets};
use crate::secret::Redactor;

/// Threads for connections. Hashing and files have others.
const THREADS: usize = 2;

/// The settings of an egress proxy.
pub struct EgressConfig {
    /// Whether it records or replays.
    pub mode: Mode,
    /// Where bodies are stored.
    pub bodies: BodyStore,
    /// How upstream servers are reached.
    pub upstream: Upstream,
    /// The `Date` of every response, in seconds since 1970, recorded or replayed: the lock's source
    /// date epoch. So two recordings do not differ by the time when they were made.
    pub date: i64,
    /// Redacts what is shown. A request whose URL contains one of its secrets is blocked.
    pub redactor: Redactor,
    /// Gets a warning for each retry.
    pub progress: Progress,
}

/// A running egress proxy. Its threads end when it is closed or dropped.
pub struct EgressProxy {
    state: Arc<ProxyState>,
    /// `None` after it was closed.
    runtime: Option<Runtime>,
}

impl EgressProxy {
    /// Creates this build's certificate authority, whose key never leaves memory, and the upstream
    /// clients. Sends no request.
    pub fn open(config: EgressConfig) -> Result<Self, EgressError> {
        let EgressConfig { mode, bodies, upstream, date, redactor, progress } = config;
        let secrets = upstream.secrets();
        let redactor = Redactor::new(redactor.secrets().iter().cloned().chain(secrets));
        let mirrors = upstream.mirrors.clone();
        let client = Client::new(upstream)?;
        let cache = ReplayCache::new(mode, client, bodies, redactor.clone(), progress);
        let state = ProxyState {
            authority: CertificateAuthority::new()?,
            cache: Arc::new(cache),
            memory: MemoryBudget::new(),
            mirrors,
            redactor,
            date: http_date(date),
            blocked: BlockedRequests::default(),
            bytes_served: AtomicU64::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("egress-proxy")
            .enable_all()
            .build()
            .map_err(EgressError::Threads)?;
        Ok(Self { state: Arc::new(state), runtime: Some(runtime) })
    }

    /// What may have made a step fail, so far: the blocked requests, or if there are none, the
    /// failed ones. Call it after a step has failed.
    pub fn explain_failure(&self) -> Option<EgressError> {
        let (blocked, failed) = (self.state.blocked.all(), self.state.cache.failed_requests());
        match (blocked.is_empty(), failed.is_empty()) {
            (false, _) => Some(EgressError::Blocked { requests: blocked }),
            (true, false) => Some(EgressError::Fetch { requests: failed }),
            (true, true) => None,
        }
    }

    /// Ends the threads and returns the report. Blocked and failed requests are not an error (see
    /// [`EgressReport::complete`]).
    pub fn close(mut self) -> Result<EgressReport, EgressError> {
        self.stop();
        let cache = &self.state.cache;
        let (recording, changes) = cache.recording();
        Ok(EgressReport {
            recording,
            blocked: self.state.blocked.all(),
            failed: cache.failed_requests(),
            changes,
            retries: cache.retries(),
            bytes_fetched: cache.bytes_fetched(),
            bytes_served: self.state.bytes_served.load(Ordering::Relaxed),
        })
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for EgressProxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ProxyHandle for EgressProxy {
    fn ca_certificate(&self) -> &str {
        self.state.authority.pem()
    }

    fn serve(&self, sockets: ProxySockets) -> Box<dyn Send> {
        let ProxySockets { proxy, dns, bypass, process } = sockets;
        let Some(runtime) = &self.runtime else { return Box::new(()) };
        let state = || Arc::clone(&self.state);
        let mut tasks = vec![
            runtime.spawn(server::serve(state(), proxy, process)),
            runtime.spawn(deny_dns(state(), dns, process)),
        ];
        let bypass = bypass.into_iter();
        tasks.extend(bypass.map(|listener| runtime.spawn(reset_connections(state(), listener, process))));
        Box::new(ServingTasks(tasks))
    }
}

/// Ends its tasks, and with them their connections, when dropped.
struct ServingTasks(Vec<JoinHandle<()>>);

impl Drop for ServingTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// An HTTP date. Times that it cannot express become the nearest one.
fn http_date(epoch: i64) -> HeaderValue {
    const MAX_SECONDS: u64 = 253_402_300_799;
    let seconds = u64::try_from(epoch).unwrap_or_default().min(MAX_SECONDS);
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// What an egress proxy did.
#[derive(Debug)]
pub struct EgressReport {
    /// When recording, the requests of this build and their responses; when replaying, the recording
    /// that was replayed.
    pub recording: Recording,
    /// The blocked requests, in order.
    pub blocked: Vec<BlockedRequest>,
    /// The requests that failed after all attempts, in order.
    pub failed: Vec<FailedRequest>,
    /// How the recording differs from the previous one; sorted.
    pub changes: Vec<RecordingChange>,
    /// The number of retries.
    pub retries: u64,
    /// Bytes of response bodies from upstream servers.
    pub bytes_fetched: u64,
    /// Bytes of response bodies that clients received.
    pub bytes_served: u64,
}

impl EgressReport {
    /// The recording, if it can be replayed: it has a response for every request, none failed.
    pub fn complete(self) -> Result<Recording, EgressError> {
        if self.failed.is_empty() {
            return Ok(self.recording);
        }
        Err(EgressError::Fetch { requests: self.failed })
    }
}
