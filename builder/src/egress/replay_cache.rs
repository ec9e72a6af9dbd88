//! What is remembered: each request is asked outside once, whoever asks it again and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::blocked::{Failure, Reason};
use super::body_store::BodyStore;
use super::recording::{Answer, MAX_EXCHANGES, Recording, Request};
use super::stub_response;
use super::upstream::{Client, NoResponse, UpstreamRequest};
use super::{Mode, RecordingChange};
use crate::error_chain::error_chain;
use crate::net::PublicUrl;
use crate::progress::Progress;
use crate::secret::Redactor;

/// Requests that are under way outside at once.
const MAX_PARALLEL_FETCHES: usize = 64;
/// Redirects that are followed to see where one leads; clients follow no more.
const MAX_REDIRECTS: usize = 50;

/// Why a request got no answer.
#[derive(Clone, Debug)]
pub(super) enum FetchError {
    /// It is not allowed to.
    Refused(Reason),
    /// There was none to be had.
    Failed(String),
}

/// One request of this build.
#[derive(Default)]
struct Slot {
    answer: OnceCell<Answer>,
    /// Taken by whoever asks outside for what is recorded.
    outside: tokio::sync::Mutex<UpstreamState>,
}

/// What came of asking for a recorded answer.
#[derive(Default)]
struct UpstreamState {
    /// It was sent again: its body is here, and the signature of where it leads.
    has_answered: bool,
    /// Why it is not to be had, if that will not pass: clients ask again after a failure.
    moved: Option<FetchError>,
}

/// Answers requests from a record, from outside, or from what it was told a moment ago.
pub(super) struct Memory {
    mode: Mode,
    client: Client,
    bodies: BodyStore,
    redactor: Redactor,
    progress: Progress,
    slots: Mutex<BTreeMap<Request, Arc<Slot>>>,
    failures: Mutex<BTreeMap<Request, Failure>>,
    fetches: Semaphore,
    tries_again: AtomicU64,
    bytes_fetched: AtomicU64,
}

impl Memory {
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
            failures: Mutex::default(),
            fetches: Semaphore::new(MAX_PARALLEL_FETCHES),
            tries_again: AtomicU64::default(),
            bytes_fetched: AtomicU64::default(),
        }
    }

    /// The answer to `question`, which takes `room`, and its body, verified. Goes on when the caller
    /// does not: a client that gives up and asks again finds the answer, not a new start.
    pub async fn answer(
        self: &Arc<Self>,
        question: UpstreamRequest,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(Answer, File), FetchError> {
        let memory = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _room = room;
            let answer = memory.recall(&question).await?;
            let body = memory.body(&question, &answer).await?;
            Ok((answer, body))
        });
        task.await.unwrap_or_else(|_| Err(FetchError::Failed("the door's own task failed".to_owned())))
    }

    async fn recall(&self, question: &UpstreamRequest) -> Result<Answer, FetchError> {
        let request = &question.request;
        if let Some(answer) = self.remembered(request) {
            let slot = self.slot(request)?;
            slot.answer.set(answer.clone()).ok();
            self.refresh(&slot, question, &answer).await;
            return Ok(answer);
        }
        if matches!(self.mode, Mode::Replay(_)) || self.client.upstream.offline {
            return Err(FetchError::Refused(Reason::NotInRecord));
        }
        let slot = self.slot(request)?;
        if self.client.upstream.refused_hosts.contains(request.url.host()) {
            return Ok(slot.answer.get_or_init(async || stub_response::answer()).await.clone());
        }
        let fetch = async || {
            let fetched = self.fetch(question, None).await;
            // Before another client's turn, which may take the failure back.
            fetched.map_err(|error| self.denied(question, error, false))
        };
        slot.answer.get_or_try_init(fetch).await.cloned()
    }

    /// What the record that was given says, unless it is to be asked anew.
    fn remembered(&self, request: &Request) -> Option<Answer> {
        self.past(&request.url)?.get(request).cloned()
    }

    /// The record that was given, if what it says of `url` counts.
    fn past(&self, url: &PublicUrl) -> Option<&Recording> {
        match &self.mode {
            Mode::Replay(record) => Some(record),
            Mode::Record { previous, update } => previous.as_ref().filter(|_| !update.includes(url)),
        }
    }

    /// Asks a recorded redirect again if what it leads to must be fetched: its signature is not in
    /// the record. Where that fails, the target shows whether it can be had without.
    async fn refresh(&self, slot: &Slot, question: &UpstreamRequest, answer: &Answer) {
        if self.client.upstream.offline || !self.leads_outside(question, answer).await {
            return;
        }
        // One that is not here is fetched itself in any case.
        if let Ok(Some(_)) = self.open(answer).await {
            let mut outside = slot.outside.lock().await;
            if !outside.has_answered {
                outside.has_answered = self.fetch(question, Some(answer)).await.is_ok();
            }
        }
    }

    /// Whether this redirect, or one that it leads to, leads to what is not here, or is damaged.
    async fn leads_outside(&self, question: &UpstreamRequest, answer: &Answer) -> bool {
        let mut next: Vec<_> = answer.redirects_to(&question.request.url).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(url) = next.pop().filter(|_| seen.len() < MAX_REDIRECTS) {
            let known: Vec<_> = self.past(&url).into_iter().flat_map(|past| past.answers_of(&url)).collect();
            if known.is_empty() && matches!(self.mode, Mode::Record { .. }) {
                return true;
            }
            for answer in known {
                if !matches!(self.open(answer).await, Ok(Some(_))) {
                    return true;
                }
                next.extend(answer.redirects_to(&url).filter(|url| !seen.contains(url)));
            }
            seen.insert(url);
        }
        false
    }

    fn slot(&self, request: &Request) -> Result<Arc<Slot>, FetchError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(request) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MAX_EXCHANGES {
            let reason = format!("a build asks for at most {MAX_EXCHANGES} addresses");
            return Err(FetchError::Refused(Reason::Malformed { reason }));
        }
        let slot = Arc::<Slot>::default();
        slots.insert(request.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// From outside; with an answer that was `recorded`, its body and no other.
    async fn fetch(
        &self,
        question: &UpstreamRequest,
        recorded: Option<&Answer>,
    ) -> Result<Answer, NoResponse> {
        let _turn = self.fetches.acquire().await;
        let again = |reason: String| {
            self.tries_again.fetch_add(1, Ordering::Relaxed);
            let message = format!("failed to fetch {}: {reason}", question.request.url);
            self.progress.warn(self.redactor.redact(&message));
        };
        let answer = self.client.fetch(question, recorded, &self.bodies, &again).await?;
        if answer.headers.values().any(|value| self.redactor.redact(value) != *value) {
            return Err(NoResponse::Failed("its answer has a secret of yours in its headers".to_owned()));
        }
        self.failures_now().remove(&question.request);
        self.bytes_fetched.fetch_add(answer.size, Ordering::Relaxed);
        Ok(answer)
    }

    /// Keeps in mind what could not be fetched.
    fn denied(&self, question: &UpstreamRequest, error: NoResponse, is_recorded: bool) -> FetchError {
        let request = &question.request;
        let reason = match error {
            NoResponse::Private(address) => return FetchError::Refused(Reason::Private { address }),
            NoResponse::Store(error) => error_chain(&error),
            NoResponse::Failed(reason) | NoResponse::Moved(reason) => reason,
        };
        let reason = self.shown(&reason);
        let failure = Failure {
            method: request.method.to_string(),
            url: self.redactor.redact(request.url.as_str()),
            reason: reason.clone(),
            is_recorded,
        };
        self.failures_now().insert(request.clone(), failure);
        FetchError::Failed(reason)
    }

    /// The body of a recorded answer: from the store, else from outside if it is still the same.
    async fn body(&self, question: &UpstreamRequest, answer: &Answer) -> Result<File, FetchError> {
        if let Some(file) = self.open(answer).await? {
            return Ok(file);
        }
        if self.client.upstream.offline {
            return Err(FetchError::Refused(Reason::NoBody { body: answer.body }));
        }
        let slot = self.slot(&question.request)?;
        let mut outside = slot.outside.lock().await;
        if let Some(denied) = &outside.moved {
            return Err(denied.clone());
        }
        // Another client may have asked for it meanwhile.
        if let Some(file) = self.open(answer).await? {
            return Ok(file);
        }
        if let Err(error) = self.fetch(question, Some(answer)).await {
            let is_moved = matches!(error, NoResponse::Moved(_));
            let denied = self.denied(question, error, true);
            outside.moved = is_moved.then(|| denied.clone());
            return Err(denied);
        }
        outside.has_answered = true;
        let gone = || FetchError::Failed(format!("the store lost the body {}", answer.body));
        self.open(answer).await?.ok_or_else(gone)
    }

    async fn open(&self, answer: &Answer) -> Result<Option<File>, FetchError> {
        let (bodies, digest, size) = (self.bodies.clone(), answer.body, answer.size);
        let opened = tokio::task::spawn_blocking(move || {
            match (bodies.open(&digest)?, stub_response::body(&digest)) {
                (None, Some(text)) => bodies.put(text).and_then(|_| bodies.open(&digest)),
                (file, _) => Ok(file),
            }
        });
        let file = match opened.await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => return Err(FetchError::Failed(error_chain(&error))),
            Err(_) => return Err(FetchError::Failed("the door's own task failed".to_owned())),
        };
        // Ranges are cut by the size that the record says.
        match file.as_ref().map(File::metadata).transpose() {
            Ok(Some(found)) if found.len() != size => Err(FetchError::Failed(format!(
                "the record says {size} bytes, but the body {digest} has {}",
                found.len()
            ))),
            _ => Ok(file),
        }
    }

    /// What was asked and answered, and what an earlier record, if there was one, had in its place.
    pub fn recorded(&self) -> (Recording, Vec<RecordingChange>) {
        let previous = match &self.mode {
            Mode::Replay(record) => return (record.clone(), Vec::new()),
            Mode::Record { previous, .. } => previous,
        };
        let mut record = Recording::default();
        for (request, slot) in self.slots.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(answer) = slot.answer.get() {
                record.insert(request.clone(), answer.clone());
            }
        }
        let changes = previous.as_ref().map(|previous| RecordingChange::between(previous, &record));
        (record, changes.unwrap_or_default())
    }

    /// What failed for good so far.
    pub fn failures(&self) -> Vec<Failure> {
        self.failures_now().values().cloned().collect()
    }

    fn failures_now(&self) -> MutexGuard<'_, BTreeMap<Request, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server or the network said, for people.
    fn shown(&self, text: &str) -> String {
        self.redactor.redact(text).chars().filter(|c| !c.is_control()).take(1000).collect()
    }

    pub fn tries_again(&self) -> u64 {
        self.tries_again.load(Ordering::Relaxed)
    }

    pub fn bytes_fetched(&self) -> u64 {
        self.bytes_fetched.load(Ordering::Relaxed)
    }
}
