//! What is remembered: each request is asked outside once, whoever asks it again and when.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::absent;
use super::bodies::Bodies;
use super::record::{Answer, MOST_ENTRIES, Record, Request};
use super::refusal::{Failure, Reason};
use super::upstream::{Client, NoAnswer, Question, reason};
use super::{Change, Mode};
use crate::progress::Progress;
use crate::secret::Redactor;

/// Requests that are under way outside at once.
const MOST_FETCHES: usize = 64;

/// Why a request got no answer.
#[derive(Clone, Debug)]
pub(super) enum Denied {
    /// It is not allowed to.
    Refused(Reason),
    /// There was none to be had.
    Failed(String),
}

type Slot = Arc<OnceCell<Answer>>;

/// Answers requests from a record, from outside, or from what it was told a moment ago.
pub(super) struct Memory {
    mode: Mode,
    client: Client,
    bodies: Bodies,
    redactor: Redactor,
    progress: Progress,
    slots: Mutex<BTreeMap<Request, Slot>>,
    failures: Mutex<BTreeMap<Request, Failure>>,
    fetches: Semaphore,
    tries_again: AtomicU64,
    bytes_fetched: AtomicU64,
}

impl Memory {
    pub fn new(mode: Mode, client: Client, bodies: Bodies, redactor: Redactor, progress: Progress) -> Self {
        Self {
            mode,
            client,
            bodies,
            redactor,
            progress,
            slots: Mutex::default(),
            failures: Mutex::default(),
            fetches: Semaphore::new(MOST_FETCHES),
            tries_again: AtomicU64::default(),
            bytes_fetched: AtomicU64::default(),
        }
    }

    /// The answer to `question`, which takes `room`, and its body, verified. Goes on when the caller
    /// does not: a client that gives up and asks again finds the answer, not a new start.
    pub async fn answer(
        self: &Arc<Self>,
        question: Question,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(Answer, File), Denied> {
        let memory = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _room = room;
            let answer = memory.recall(&question).await?;
            let body = memory.body(&question, &answer).await?;
            Ok((answer, body))
        });
        task.await.unwrap_or_else(|_| Err(Denied::Failed("the door's own task failed".to_owned())))
    }

    async fn recall(&self, question: &Question) -> Result<Answer, Denied> {
        let request = &question.request;
        if let Some(answer) = self.remembered(request) {
            self.slot(request)?.set(answer.clone()).ok();
            return Ok(answer);
        }
        if matches!(self.mode, Mode::Replay(_)) || self.client.upstream.offline {
            return Err(Denied::Refused(Reason::NotInRecord));
        }
        let slot = self.slot(request)?;
        if self.client.upstream.refused_hosts.contains(request.url.host()) {
            return Ok(slot.get_or_init(async || absent::answer()).await.clone());
        }
        slot.get_or_try_init(|| self.fetch(question, None)).await.cloned()
    }

    /// What the record that was given says, unless it is to be asked anew.
    fn remembered(&self, request: &Request) -> Option<Answer> {
        match &self.mode {
            Mode::Replay(record) => record.get(request).cloned(),
            Mode::Record { previous, update } => {
                let previous = previous.as_ref().filter(|_| !update.includes(&request.url))?;
                previous.get(request).cloned()
            }
        }
    }

    fn slot(&self, request: &Request) -> Result<Slot, Denied> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(request) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MOST_ENTRIES {
            let reason = format!("a build asks for at most {MOST_ENTRIES} addresses");
            return Err(Denied::Refused(Reason::Malformed { reason }));
        }
        let slot = Slot::default();
        slots.insert(request.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// From outside; with an answer that was `recorded`, its body and no other.
    async fn fetch(&self, question: &Question, recorded: Option<&Answer>) -> Result<Answer, Denied> {
        let _turn = self.fetches.acquire().await;
        let request = &question.request;
        let again = |reason: String| {
            self.tries_again.fetch_add(1, Ordering::Relaxed);
            let message = format!("failed to fetch {}: {reason}", request.url);
            self.progress.warn(self.redactor.redact(&message));
        };
        let fetched = self.client.fetch(question, recorded, &self.bodies, &again).await;
        let has_secret =
            |answer: &Answer| answer.headers.values().any(|value| self.redactor.redact(value) != *value);
        let fetched = match fetched {
            Ok(answer) if has_secret(&answer) => {
                Err(NoAnswer::Failed("its answer has a secret of yours in its headers".to_owned()))
            }
            fetched => fetched,
        };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(answer) => {
                failures.remove(request);
                self.bytes_fetched.fetch_add(answer.size, Ordering::Relaxed);
                Ok(answer)
            }
            Err(NoAnswer::Private(address)) => Err(Denied::Refused(Reason::Private { address })),
            Err(error) => {
                let reason = match error {
                    NoAnswer::Store(error) => reason(&error),
                    NoAnswer::Failed(reason) | NoAnswer::Private(reason) => reason,
                };
                let reason = self.shown(&reason);
                let failure = Failure {
                    method: request.method.to_string(),
                    url: self.redactor.redact(request.url.as_str()),
                    reason: reason.clone(),
                    is_recorded: recorded.is_some(),
                };
                failures.insert(request.clone(), failure);
                Err(Denied::Failed(reason))
            }
        }
    }

    /// The body of a recorded answer: from the store, else from outside if it is still the same.
    async fn body(&self, question: &Question, answer: &Answer) -> Result<File, Denied> {
        if let Some(file) = self.open(answer).await? {
            return Ok(file);
        }
        if self.client.upstream.offline {
            return Err(Denied::Refused(Reason::NoBody { body: answer.body }));
        }
        self.fetch(question, Some(answer)).await?;
        let gone = || Denied::Failed(format!("the store lost the body {}", answer.body));
        self.open(answer).await?.ok_or_else(gone)
    }

    async fn open(&self, answer: &Answer) -> Result<Option<File>, Denied> {
        let (bodies, digest, size) = (self.bodies.clone(), answer.body, answer.size);
        let opened =
            tokio::task::spawn_blocking(move || match (bodies.open(&digest)?, absent::body(&digest)) {
                (None, Some(text)) => bodies.put(text).and_then(|_| bodies.open(&digest)),
                (file, _) => Ok(file),
            });
        let file = match opened.await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => return Err(Denied::Failed(reason(&error))),
            Err(_) => return Err(Denied::Failed("the door's own task failed".to_owned())),
        };
        // Ranges are cut by the size that the record says.
        match file.as_ref().map(File::metadata).transpose() {
            Ok(Some(found)) if found.len() != size => Err(Denied::Failed(format!(
                "the record says {size} bytes, but the body {digest} has {}",
                found.len()
            ))),
            _ => Ok(file),
        }
    }

    /// What was asked and answered, and what an earlier record, if there was one, had in its place.
    pub fn recorded(&self) -> (Record, Vec<Change>) {
        let previous = match &self.mode {
            Mode::Replay(record) => return (record.clone(), Vec::new()),
            Mode::Record { previous, .. } => previous,
        };
        let mut record = Record::default();
        for (request, slot) in self.slots.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(answer) = slot.get() {
                record.insert(request.clone(), answer.clone());
            }
        }
        let changes = previous.as_ref().map(|previous| Change::between(previous, &record));
        (record, changes.unwrap_or_default())
    }

    /// What failed for good so far.
    pub fn failures(&self) -> Vec<Failure> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.values().cloned().collect()
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
