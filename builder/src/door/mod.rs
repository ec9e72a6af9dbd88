//! The door: the only way out of a build, with a memory.
//!
//! Steps reach it as their proxy, for http and, with certificates that it makes itself, for https.
//! What they ask ([`Request`]) is answered from the [`Record`] of an earlier build, or fetched,
//! kept ([`Bodies`]) and recorded. An answer is handed on when it is whole and hashed, never
//! before: no step ever sees a wrong byte, and the store keeps none.
//!
//! `docs/door.md` says what is recorded and what the limits are.

mod bodies;
mod error;
mod names;
mod public_url;
mod record;
mod refusal;
mod update;
mod upstream;

pub use bodies::{Bodies, BodiesError, LARGEST_BODY};
pub use error::DoorError;
pub use public_url::{BadUrl, PublicUrl};
pub use record::{Answer, Entry, LARGEST_RECORD, MOST_ENTRIES, Method, Record, RecordError, Request};
pub use refusal::{Asker, Failure, Reason, Refusal};
pub use update::{Change, Update, Wanted};
pub use upstream::{BadMirror, Credential, Mirror, Patience, Proxies, Upstream};

use refusal::Collected;

use crate::progress::Progress;
use crate::sandbox::{Doorkeeper, Doorway};
use crate::secret::Redactor;

/// What a door is made of.
pub struct DoorConfig {
    /// Whether it learns or only remembers.
    pub mode: Mode,
    /// Where bodies are.
    pub bodies: Bodies,
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
        previous: Option<Record>,
        /// What is asked anew.
        update: Update,
    },
    /// Answers from this record; refuses what is not in it.
    Replay(Record),
}

/// An open door. Its threads end when it is closed or dropped.
pub struct Door {
    refusals: Collected<Refusal>,
    failures: Collected<Failure>,
}

impl Door {
    /// Makes this build's certificate authority (its key never leaves memory) and the clients
    /// towards the outside. Nothing is asked yet.
    pub fn open(config: DoorConfig) -> Result<Self, DoorError> {
        let _ = config;
        Ok(Self { refusals: Collected::default(), failures: Collected::default() })
    }

    /// What a step that failed may have failed of: what was refused, else what could not be
    /// fetched, since this was called last. Call it after each step.
    pub fn trouble(&self) -> Option<DoorError> {
        let (refusals, failures) = (self.refusals.take(), self.failures.take());
        match (refusals.is_empty(), failures.is_empty()) {
            (false, _) => Some(DoorError::Refused { refusals }),
            (true, false) => Some(DoorError::Failed { failures }),
            (true, true) => None,
        }
    }

    /// Ends its threads and tells what went through. Not an error: that something was refused,
    /// or could not be fetched (see [`Passed::complete`]).
    pub fn close(self) -> Result<Passed, DoorError> {
        Ok(Passed {
            record: Record::default(),
            refusals: Vec::new(),
            failures: Vec::new(),
            changes: Vec::new(),
            tries_again: 0,
            bytes_fetched: 0,
            bytes_served: 0,
        })
    }
}

impl Doorkeeper for Door {
    fn ca_certificate(&self) -> &str {
        ""
    }

    fn attend(&self, doorway: Doorway) -> Box<dyn Send> {
        Box::new(doorway)
    }
}

/// What went through a door while it was open.
#[derive(Debug)]
pub struct Passed {
    /// What was asked and answered: when recording, exactly what this build asked; when
    /// replaying, the record that was given.
    pub record: Record,
    /// All that was refused, in order.
    pub refusals: Vec<Refusal>,
    /// All that could not be fetched, in order.
    pub failures: Vec<Failure>,
    /// How the record differs from the previous one; sorted.
    pub changes: Vec<Change>,
    /// Requests that were sent again after a failure that passes.
    pub tries_again: u64,
    /// Bytes of bodies that came from outside.
    pub bytes_fetched: u64,
    /// Bytes of bodies that steps were given.
    pub bytes_served: u64,
}

impl Passed {
    /// The record, if a replay would answer all that this build asked: nothing failed for good.
    pub fn complete(self) -> Result<Record, DoorError> {
        if self.failures.is_empty() {
            return Ok(self.record);
        }
        Err(DoorError::Failed { failures: self.failures })
    }
}
