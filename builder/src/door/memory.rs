//! What is remembered: each request is asked outside once, whoever asks it again and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::absent;
use super::bodies::Bodies;
use super::public_url::PublicUrl;
use super::record::{Answer, MOST_ENTRIES, Record, Request};
use super::refusal::{Failure, Reason};
use super::upstream::{Client, NoAnswer, Question};
use super::{Change, Mode};
use crate::causes::reason;
use crate::progress::Progress;
use crate::secret::Redactor;

/// Requests that are under way outside at once.
const MOST_FETCHES: usize = 64;
/// Redirects that are followed to see where one leads; clients follow no more.
const MOST_REDIRECTS: usize = 50;

/// Why a request got no answer.
#[derive(Clone, Debug)]
pub(super) enum Denied {
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
    outside: tokio::sync::Mutex<Outside>,
}

/// What came of asking for a recorded answer.
#[derive(Default)]
struct Outside {
    /// It was sent again: its body is here, and the signature of where it leads.
    has_answered: bool,
    /// Why it is not to be had, if that will not pass: clients ask again after a failure.
    moved: Option<Denied>,
}

/// Answers requests from a record, from outside, or from what it was told a moment ago.
pub(super) struct Memory {
    mode: Mode,
    client: Client,
    bodies: Bodies,
    redactor: Redactor,
    progress: Progress,
    slots: Mutex<BTreeMap<Request, Arc<Slot>>>,
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
            let slot = self.slot(request)?;
            slot.answer.set(answer.clone()).ok();
            self.refresh(&slot, question, &answer).await;
            return Ok(answer);
        }
        if matches!(self.mode, Mode::Replay(_)) || self.client.upstream.offline {
            return Err(Denied::Refused(Reason::NotInRecord));
        }
        let slot = self.slot(request)?;
        if self.client.upstream.refused_hosts.contains(request.url.host()) {
            return Ok(slot.answer.get_or_init(async || absent::answer()).await.clone());
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
    fn past(&self, url: &PublicUrl) -> Option<&Record> {
        match &self.mode {
            Mode::Replay(record) => Some(record),
            Mode::Record { previous, update } => previous.as_ref().filter(|_| !update.includes(url)),
        }
    }

    /// Asks a recorded redirect again if what it leads to must be fetched: its signature is not in
    /// the record. Where that fails, the target shows whether it can be had without.
    async fn refresh(&self, slot: &Slot, question: &Question, answer: &Answer) {
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
    async fn leads_outside(&self, question: &Question, answer: &Answer) -> bool {
        let mut next: Vec<_> = answer.redirects_to(&question.request.url).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(url) = next.pop().filter(|_| seen.len() < MOST_REDIRECTS) {
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

    fn slot(&self, request: &Request) -> Result<Arc<Slot>, Denied> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(request) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MOST_ENTRIES {
            let reason = format!("a build asks for at most {MOST_ENTRIES} addresses");
            return Err(Denied::Refused(Reason::Malformed { reason }));
        }
        let slot = Arc::<Slot>::default();
        slots.insert(request.clone(), Arc::clone(&slot));
        Ok(slot)
    }

    /// From outside; with an answer that was `recorded`, its body and no other.
    async fn fetch(&self, question: &Question, recorded: Option<&Answer>) -> Result<Answer, NoAnswer> {
        let _turn = self.fetches.acquire().await;
        let again = |reason: String| {
            self.tries_again.fetch_add(1, Ordering::Relaxed);
            let message = format!("failed to fetch {}: {reason}", question.request.url);
            self.progress.warn(self.redactor.redact(&message));
        };
        let answer = self.client.fetch(question, recorded, &self.bodies, &again).await?;
        if answer.headers.values().any(|value| self.redactor.redact(value) != *value) {
            return Err(NoAnswer::Failed("its answer has a secret of yours in its headers".to_owned()));
        }
        self.failures_now().remove(&question.request);
        self.bytes_fetched.fetch_add(answer.size, Ordering::Relaxed);
        Ok(answer)
    }

    /// Keeps in mind what could not be fetched.
    fn denied(&self, question: &Question, error: NoAnswer, is_recorded: bool) -> Denied {
        let request = &question.request;
        let reason = match error {
            NoAnswer::Private(address) => return Denied::Refused(Reason::Private { address }),
            NoAnswer::Store(error) => reason(&error),
            NoAnswer::Failed(reason) | NoAnswer::Moved(reason) => reason,
        };
        let reason = self.shown(&reason);
        let failure = Failure {
            method: request.method.to_string(),
            url: self.redactor.redact(request.url.as_str()),
            reason: reason.clone(),
            is_recorded,
        };
        self.failures_now().insert(request.clone(), failure);
        Denied::Failed(reason)
    }

    /// The body of a recorded answer: from the store, else from outside if it is still the same.
    async fn body(&self, question: &Question, answer: &Answer) -> Result<File, Denied> {
        if let Some(file) = self.open(answer).await? {
            return Ok(file);
        }
        if self.client.upstream.offline {
            return Err(Denied::Refused(Reason::NoBody { body: answer.body }));
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
            let is_moved = matches!(error, NoAnswer::Moved(_));
            let denied = self.denied(question, error, true);
            outside.moved = is_moved.then(|| denied.clone());
            return Err(denied);
        }
        outside.has_answered = true;
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
            if let Some(answer) = slot.answer.get() {
                record.insert(request.clone(), answer.clone());
            }
        }
        let changes = previous.as_ref().map(|previous| Change::between(previous, &record));
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
