//! Serves each request from the recording, the body store or upstream. Each request is fetched once
//! per build, however many clients send it, at the same time or later.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::blocked::{BlockReason, FailedRequest};
use super::body_store::BodyStore;
use super::recording::{MAX_EXCHANGES, RecordedRequest, RecordedResponse, Recording};
use super::stub_response::{stub_body, stub_response};
use super::update::{Mode, RecordingChange};
use super::upstream::{Client, UpstreamError, UpstreamRequest};
use crate::error_chain::error_chain;
use crate::net::PublicUrl;
use crate::progress::Progress;
use crate::secret::Redactor;

/// Maximum number of upstream requests in progress.
const MAX_PARALLEL_FETCHES: usize = 64;
/// Maximum length of a chain of redirects that is followed to find out whether the store has its
/// target. Clients follow no more.
const MAX_REDIRECTS: usize = 50;

/// Why a request has no response.
#[derive(Clone, Debug)]
pub(super) enum ReplayError {
    /// It is blocked.
    Blocked(BlockReason),
    /// The upstream request or the body store failed.
    Failed(String),
}

/// One request of this build.
#[derive(Default)]
struct Slot {
    response: OnceCell<RecordedResponse>,
    /// Locked while a recorded response is fetched again.
    refetch: tokio::sync::Mutex<Refetch>,
}

/// The result of fetching a recorded response again.
#[derive(Default)]
struct Refetch {
    /// It succeeded: the store has the body, and the client has the signature of a redirect's target.
    is_done: bool,
    /// A failure that no later request can repair; clients retry after a failure.
    permanent_error: Option<ReplayError>,
}

/// The responses of one build.
pub(super) struct ReplayCache {
    mode: Mode,
    client: Client,
    bodies: BodyStore,
    redactor: Redactor,
    progress: Progress,
    slots: Mutex<BTreeMap<RecordedRequest, Arc<Slot>>>,
    failed: Mutex<BTreeMap<RecordedRequest, FailedRequest>>,
    fetch_permits: Semaphore,
    retries: AtomicU64,
    bytes_fetched: AtomicU64,
}

impl ReplayCache {
    pub fn new(
        mode: Mode,
        client: Client,
        bodies: BodyStore,
        redactor: Redactor,
        progress: Progress,
    ) -> Self {
        Self {
            mode,
            client,
            bodies,
            redactor,
            progress,
            slots: Mutex::default(),
            failed: Mutex::default(),
            fetch_permits: Semaphore::new(MAX_PARALLEL_FETCHES),
            retries: AtomicU64::default(),
            bytes_fetched: AtomicU64::default(),
        }
    }

    /// The response to `request`, and its body, verified. `memory` is released at the end. Continues
    /// when the caller is dropped: a client that gives up and sends the request again gets the
    /// response of this fetch, and does not start another.
    pub async fn respond(
        self: &Arc<Self>,
        request: UpstreamRequest,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<(RecordedResponse, File), ReplayError> {
        let cache = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _memory = memory;
            let response = cache.response(&request).await?;
            let body = cache.body(&request, &response).await?;
            Ok((response, body))
        });
        task.await.unwrap_or_else(|_| Err(task_panicked()))
    }

    async fn response(&self, request: &UpstreamRequest) -> Result<RecordedResponse, ReplayError> {
        let key = &request.request;
        if let Some(response) = self.recorded(key) {
            let slot = self.slot(key)?;
            slot.response.set(response.clone()).ok();
            self.refresh_redirect(&slot, request, &response).await;
            return Ok(response);
        }
        if matches!(self.mode, Mode::Replay(_)) || self.client.upstream.offline {
            return Err(ReplayError::Blocked(BlockReason::NotRecorded));
        }
        let slot = self.slot(key)?;
        if self.client.upstream.refused_hosts.contains(key.url.host()) {
            return Ok(slot.response.get_or_init(async || stub_response()).await.clone());
        }
        let fetch = async || {
            let fetched = self.fetch(request, None).await;
            // Within the cell: the next client that fetches may remove the failure again.
            fetched.map_err(|error| self.add_failed(request, error, false))
        };
        slot.response.get_or_try_init(fetch).await.cloned()
    }

    /// The recorded response, unless it must be refreshed.
    fn recorded(&self, request: &RecordedRequest) -> Option<RecordedResponse> {
        self.recording_for(&request.url)?.get(request).cloned()
    }

    /// The recording of an earlier build, if it is used for `url`.
    fn recording_for(&self, url: &PublicUrl) -> Option<&Recording> {
        match &self.mode {
            Mode::Replay(recording) => Some(recording),
            Mode::Record { previous, update } => previous.as_ref().filter(|_| !update.includes(url)),
        }
    }

    /// Fetches a recorded redirect again if its target must be fetched: the signature of a presigned
    /// URL is not in the recording. If that fails, the target is requested without a signature.
    async fn refresh_redirect(&self, slot: &Slot, request: &UpstreamRequest, response: &RecordedResponse) {
        if self.client.upstream.offline || !self.has_missing_target(request, response).await {
            return;
        }
        // A redirect whose own body is missing is fetched in any case.
        if let Ok(Some(_)) = self.open(response).await {
            let mut refetch = slot.refetch.lock().await;
            if !refetch.is_done {
                refetch.is_done = self.fetch(request, Some(response)).await.is_ok();
            }
        }
    }

    /// Whether a redirect leads, directly or through others, to a body that the store lacks.
    async fn has_missing_target(&self, request: &UpstreamRequest, response: &RecordedResponse) -> bool {
        let mut next: Vec<_> = response.redirect_target(&request.request.url).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(url) = next.pop().filter(|_| seen.len() < MAX_REDIRECTS) {
            let recording = self.recording_for(&url);
            let recorded: Vec<_> =
                recording.into_iter().flat_map(|recording| recording.responses_of(&url)).collect();
            if recorded.is_empty() && matches!(self.mode, Mode::Record { .. }) {
                return true;
            }
            for response in recorded {
                if !matches!(self.open(response).await, Ok(Some(_))) {
                    return true;
                }
                next.extend(response.redirect_target(&url).filter(|url| !seen.contains(url)));
            }
            seen.insert(url);
        }
        false
    }

    fn slot(&self, request: &RecordedRequest) -> Result<Arc<Slot>, ReplayError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(request) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MAX_EXCHANGES {
            let reason = format!("a build may send at most {MAX_EXCHANGES} different requests");
            return Err(ReplayError::Blocked(BlockReason::Malformed { reason }));
        }
        let slot = Arc::<Slot>::default();
        slots.insert(request.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Fetches a response from upstream. With a `recorded` one, only an equal response succeeds.
    async fn fetch(
        &self,
        request: &UpstreamRequest,
        recorded: Option<&RecordedResponse>,
    ) -> Result<RecordedResponse, UpstreamError> {
        let _permit = self.fetch_permits.acquire().await;
        let on_retry = |reason: String| {
            self.retries.fetch_add(1, Ordering::Relaxed);
            let message = format!("failed to fetch {}: {reason}", request.request.url);
            self.progress.warn(self.redactor.redact(&message));
        };
        let response = self.client.fetch(request, recorded, &self.bodies, &on_retry).await?;
        if response.headers.values().any(|value| self.redactor.redact(value) != *value) {
            let reason = "a header of the response contains one of your secrets";
            return Err(UpstreamError::Failed(reason.to_owned()));
        }
        self.failed().remove(&request.request);
        self.bytes_fetched.fetch_add(response.size, Ordering::Relaxed);
        Ok(response)
    }

    /// Adds a request to the failed ones, unless it is blocked.
    fn add_failed(&self, request: &UpstreamRequest, error: UpstreamError, is_recorded: bool) -> ReplayError {
        let key = &request.request;
        let reason = match error {
            UpstreamError::PrivateAddress(address) => {
                return ReplayError::Blocked(BlockReason::PrivateAddress { address });
            }
            UpstreamError::Store(error) => error_chain(&error),
            UpstreamError::Failed(reason) | UpstreamError::Changed(reason) => reason,
        };
        let reason = self.sanitize(&reason);
        let failed = FailedRequest {
            method: key.method.to_string(),
            url: self.redactor.redact(key.url.as_str()),
            reason: reason.clone(),
            is_recorded,
        };
        self.failed().insert(key.clone(), failed);
        ReplayError::Failed(reason)
    }

    /// The body of a response: from the store, or from upstream if it is still the same.
    async fn body(
        &self,
        request: &UpstreamRequest,
        response: &RecordedResponse,
    ) -> Result<File, ReplayError> {
        if let Some(file) = self.open(response).await? {
            return Ok(file);
        }
        if self.client.upstream.offline {
            return Err(ReplayError::Blocked(BlockReason::BodyMissing { body: response.body }));
        }
        let slot = self.slot(&request.request)?;
        let mut refetch = slot.refetch.lock().await;
        if let Some(error) = &refetch.permanent_error {
            return Err(error.clone());
        }
        // Another client's request may have fetched it meanwhile.
        if let Some(file) = self.open(response).await? {
            return Ok(file);
        }
        if let Err(error) = self.fetch(request, Some(response)).await {
            let is_changed = matches!(error, UpstreamError::Changed(_));
            let error = self.add_failed(request, error, true);
            refetch.permanent_error = is_changed.then(|| error.clone());
            return Err(error);
        }
        refetch.is_done = true;
        let lost = || ReplayError::Failed(format!("the body store lost the body {}", response.body));
        self.open(response).await?.ok_or_else(lost)
    }

    async fn open(&self, response: &RecordedResponse) -> Result<Option<File>, ReplayError> {
        let (bodies, digest, size) = (self.bodies.clone(), response.body, response.size);
        let opened = tokio::task::spawn_blocking(move || match (bodies.open(&digest)?, stub_body(&digest)) {
            (None, Some(text)) => bodies.put(text).and_then(|_| bodies.open(&digest)),
            (file, _) => Ok(file),
        });
        let file = match opened.await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => return Err(ReplayError::Failed(error_chain(&error))),
            Err(_) => return Err(task_panicked()),
        };
        // Ranges are served by the recorded size.
        match file.as_ref().map(File::metadata).transpose() {
            Ok(Some(found)) if found.len() != size => Err(ReplayError::Failed(format!(
                "the recorded size is {size} bytes, but the body {digest} has {}",
                found.len()
            ))),
            _ => Ok(file),
        }
    }

    /// The recording of this build, and its differences from the previous one, if there is one. When
    /// replaying, the recording that is replayed.
    pub fn recording(&self) -> (Recording, Vec<RecordingChange>) {
        let previous = match &self.mode {
            Mode::Replay(recording) => return (recording.clone(), Vec::new()),
            Mode::Record { previous, .. } => previous,
        };
        let mut recording = Recording::default();
        for (request, slot) in self.slots.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(response) = slot.response.get() {
                recording.insert(request.clone(), response.clone());
            }
        }
        let changes = previous.as_ref().map(|previous| RecordingChange::between(previous, &recording));
        (recording, changes.unwrap_or_default())
    }

    /// The requests that failed so far, and did not succeed later.
    pub fn failed_requests(&self) -> Vec<FailedRequest> {
        self.failed().values().cloned().collect()
    }

    fn failed(&self) -> MutexGuard<'_, BTreeMap<RecordedRequest, FailedRequest>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text from a server or the network, for a message.
    fn sanitize(&self, text: &str) -> String {
        carafe_layers::text::message(&self.redactor.redact(text))
    }

    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched.load(Ordering::Relaxed)
    }
}

fn task_panicked() -> ReplayError {
    ReplayError::Failed("a task of the egress proxy panicked".to_owned())
}
