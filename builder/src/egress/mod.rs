//! The door: the only way out of a build, with a memory.
//!
//! Steps reach it as their proxy, for http and, with certificates that it makes itself, for https.
//! What they ask ([`Request`]) is answered from the [`Record`] of an earlier build, or fetched,
//! kept ([`BodyStore`]) and recorded. An answer is handed on when it is whole and hashed, never
//! before: no step ever sees a wrong byte, and the store keeps none.
//!
//! `docs/door.md` says what is recorded and what the limits are. The way of a request: `server`
//! takes it, `question` reads it, `memory` remembers or has `upstream` fetch, `answer` sends.
//! Who tries another way is met by `stray`.

mod authority;
mod blocked;
mod body_store;
mod bypass;
mod dns;
mod error;
mod peer_process;
mod recording;
mod replay_cache;
mod request;
mod response;
mod server;
mod stub_response;
mod update;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;
use rustix::process::Pid;
use tokio::runtime::Runtime;

pub use blocked::{BlockedRequest, Failure, PeerProcess, Reason};
pub use body_store::{BodyStore, BodyStoreError, MAX_BODY_BYTES};
pub use error::EgressError;
pub use recording::{
    Answer, Entry, MAX_EXCHANGES, MAX_RECORDING_BYTES, Method, Recording, RecordingError, Request,
};
pub use update::{RecordingChange, Update, UpdateSelector};
pub use upstream::Upstream;

use authority::Authority;
use blocked::Collected;
use peer_process::{Socket, who};
use replay_cache::Memory;
use request::BodyMemory;

use crate::net::{Mirror, PublicUrl};
use crate::progress::Progress;
use crate::sandbox::{ProxyHandle, ProxySockets};
use crate::secret::Redactor;

/// What a door is made of.
pub struct EgressConfig {
    /// Whether it learns or only remembers.
    pub mode: Mode,
    /// Where bodies are.
    pub bodies: BodyStore,
    /// How the outside is reached.
    pub upstream: Upstream,
    /// The `Date` of every answer, in seconds since 1970, recorded or replayed: the lock's source
    /// date epoch. So time stands still, and two recordings do not differ by their clock.
    pub date: i64,
    /// Cleans what is shown; a request whose address has one of its secrets is refused.
    pub redactor: Redactor,
    /// Gets a warning for each further try.
    pub progress: Progress,
}

/// What the door does with a request.
pub enum Mode {
    /// Asks outside, each request once, and writes the answers down.
    Record {
        /// What an earlier build was answered: used for all that `update` does not include.
        previous: Option<Recording>,
        /// What is asked anew.
        update: Update,
    },
    /// Answers from this record; refuses what is not in it.
    Replay(Recording),
}

/// Threads that move what goes through; hashing and files have others.
const THREADS: usize = 2;

/// An open door. Its threads end when it is closed or dropped.
pub struct EgressProxy {
    shared: Arc<Shared>,
    /// None once it is closed.
    runtime: Option<Runtime>,
}

/// What all its connections use.
struct Shared {
    authority: Authority,
    memory: Arc<Memory>,
    room: BodyMemory,
    mirrors: Vec<Mirror>,
    redactor: Redactor,
    date: HeaderValue,
    refusals: Collected<BlockedRequest>,
    bytes_served: AtomicU64,
}

impl Shared {
    /// The address that a record has for it: who knows of a mirror inside, knows it from a page
    /// of that mirror.
    fn published(&self, url: &PublicUrl) -> PublicUrl {
        Mirror::publish(&self.mirrors, url)
    }

    /// Who asked. Not looked for once there are more refusals than are kept.
    async fn peer(&self, inside: Pid, socket: Socket, address: SocketAddr) -> Option<PeerProcess> {
        if self.refusals.is_full() {
            return None;
        }
        tokio::task::spawn_blocking(move || who(inside, socket, address)).await.ok().flatten()
    }

    /// Keeps in mind what was refused, without secrets.
    fn refuse(&self, peer: Option<PeerProcess>, method: &str, url: String, reason: Reason) -> BlockedRequest {
        let redact = |text: &str| self.redactor.redact(text);
        let refusal = BlockedRequest {
            peer: peer.map(|peer| PeerProcess { command: redact(&peer.command), ..peer }),
            method: method.chars().take(20).collect(),
            url: redact(&url),
            reason,
        };
        self.refusals.add(refusal.clone());
        refusal
    }

    fn served(&self, bytes: u64) {
        self.bytes_served.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl EgressProxy {
    /// Makes this build's certificate authority (its key never leaves memory) and the clients
    /// towards the outside. Nothing is asked yet.
    pub fn open(config: EgressConfig) -> Result<Self, EgressError> {
        let EgressConfig { mode, bodies, upstream, date, redactor, progress } = config;
        let secrets = upstream.secrets();
        let redactor = Redactor::new(redactor.secrets().iter().cloned().chain(secrets));
        let mirrors = upstream.mirrors.clone();
        let client = upstream::Client::new(upstream)?;
        let memory = Memory::new(mode, client, bodies, redactor.clone(), progress);
        let shared = Shared {
            authority: Authority::new()?,
            memory: Arc::new(memory),
            room: BodyMemory::new(),
            mirrors,
            redactor,
            date: http_date(date),
            refusals: Collected::default(),
            bytes_served: AtomicU64::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("door")
            .enable_all()
            .build()
            .map_err(EgressError::Threads)?;
        Ok(Self { shared: Arc::new(shared), runtime: Some(runtime) })
    }

    /// What a step that failed may have failed of: what was refused, else what could not be
    /// fetched, so far. Call it after a step that failed.
    pub fn attempt_error(&self) -> Option<EgressError> {
        let (refusals, failures) = (self.shared.refusals.all(), self.shared.memory.failures());
        match (refusals.is_empty(), failures.is_empty()) {
            (false, _) => Some(EgressError::Refused { refusals }),
            (true, false) => Some(EgressError::Failed { failures }),
            (true, true) => None,
        }
    }

    /// Ends its threads and tells what went through. Not an error: that something was refused,
    /// or could not be fetched (see [`EgressReport::complete`]).
    pub fn close(mut self) -> Result<EgressReport, EgressError> {
        self.stop();
        let memory = &self.shared.memory;
        let (record, changes) = memory.recorded();
        Ok(EgressReport {
            record,
            refusals: self.shared.refusals.all(),
            failures: memory.failures(),
            changes,
            tries_again: memory.tries_again(),
            bytes_fetched: memory.bytes_fetched(),
            bytes_served: self.shared.bytes_served.load(Ordering::Relaxed),
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
        self.shared.authority.pem()
    }

    fn attend(&self, proxy_sockets: ProxySockets) -> Box<dyn Send> {
        let ProxySockets { proxy, names, direct, process } = proxy_sockets;
        let Some(runtime) = &self.runtime else { return Box::new(()) };
        let shared = || Arc::clone(&self.shared);
        let mut tasks = vec![
            runtime.spawn(server::serve(shared(), proxy, process)),
            runtime.spawn(bypass::answer_names(shared(), names, process)),
        ];
        let direct = direct.into_iter();
        tasks.extend(direct.map(|listener| runtime.spawn(bypass::hang_up(shared(), listener, process))));
        Box::new(ServingTasks(tasks))
    }
}

/// Ends its tasks, and with them their connections, when dropped.
struct ServingTasks(Vec<tokio::task::JoinHandle<()>>);

impl Drop for ServingTasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// As HTTP writes it; times that it cannot write become the nearest that it can.
fn http_date(epoch: i64) -> HeaderValue {
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(epoch).unwrap_or_default().min(LAST);
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// What went through a door while it was open.
#[derive(Debug)]
pub struct EgressReport {
    /// What was asked and answered: when recording, exactly what this build asked; when
    /// replaying, the record that was given.
    pub record: Recording,
    /// All that was refused, in order.
    pub refusals: Vec<BlockedRequest>,
    /// All that could not be fetched, in order.
    pub failures: Vec<Failure>,
    /// How the record differs from the previous one; sorted.
    pub changes: Vec<RecordingChange>,
    /// Requests that were sent again after a failure that passes.
    pub tries_again: u64,
    /// Bytes of bodies that came from outside.
    pub bytes_fetched: u64,
    /// Bytes of bodies that steps were given.
    pub bytes_served: u64,
}

impl EgressReport {
    /// The record, if a replay would answer all that this build asked: nothing failed for good.
    pub fn complete(self) -> Result<Recording, EgressError> {
        if self.failures.is_empty() {
            return Ok(self.record);
        }
        Err(EgressError::Failed { failures: self.failures })
    }
}
