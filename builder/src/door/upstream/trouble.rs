//! What can go wrong with one try, and whether another one follows.

use std::time::{Duration, SystemTime};

use super::super::bodies::BodiesError;
use super::Patience;
use super::fetch::NoAnswer;
use crate::retry::{RetryAfter, backoff};

/// Further tries after another answer than the recorded one: replicas may differ for a moment, but
/// each try is the whole body again.
const TRIES_AFTER_ANOTHER: u32 = 2;

/// Why one try brought no answer.
pub(super) enum Trouble {
    /// The next one may.
    Passing { reason: String, after: Option<RetryAfter> },
    /// It brought another answer than the recorded one; `is_moved` if it is such a one, only with
    /// another body.
    Another { reason: String, is_moved: bool },
    /// None will.
    Lasting(NoAnswer),
}

impl Trouble {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing { reason: reason.into(), after: None }
    }

    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self::Lasting(NoAnswer::Failed(reason.into()))
    }
}

impl From<BodiesError> for Trouble {
    fn from(error: BodiesError) -> Self {
        match error {
            BodiesError::TooLarge => Self::lasting(error.to_string()),
            error => Self::Lasting(NoAnswer::Store(error)),
        }
    }
}

/// The tries of one request.
pub(super) struct Tries {
    patience: Patience,
    failed: u32,
    brought_another: u32,
}

impl Tries {
    pub fn new(patience: Patience) -> Self {
        Self { patience, failed: 0, brought_another: 0 }
    }

    /// What to say before the next try, and the pause before it; an error if there is none.
    pub fn after(&mut self, trouble: Trouble) -> Result<(String, Duration), NoAnswer> {
        self.failed += 1;
        let (reason, after, is_moved) = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Passing { reason, after } => (reason, after, false),
            Trouble::Another { reason, is_moved } => {
                self.brought_another += 1;
                (reason, None, is_moved)
            }
        };
        let Patience { tries, first_pause, longest_pause, .. } = self.patience;
        if self.failed >= tries || self.brought_another > TRIES_AFTER_ANOTHER {
            let reason = format!("{reason} ({} tries)", self.failed);
            return Err(if is_moved { NoAnswer::Moved(reason) } else { NoAnswer::Failed(reason) });
        }
        let asked = after.map(|after| after.pause(SystemTime::now())).unwrap_or_default();
        if asked > longest_pause {
            let seconds = asked.as_secs();
            return Err(NoAnswer::Failed(format!("{reason}; it wants to be left alone for {seconds} s")));
        }
        let pause = backoff(self.failed, first_pause, longest_pause).max(asked);
        Ok((format!("{reason}; trying again in {:.1} s", pause.as_secs_f32()), pause))
    }
}
