//! The door of one build: opened before bench runs, and settled when it has.

use std::sync::Arc;

use carafe_builder::bench::BenchError;
use carafe_builder::door::{
    Bodies, Change, Door, DoorConfig, DoorError, Mode, Passed, Reason, Record, Refusal,
};
use carafe_builder::lock::Lock;
use carafe_builder::sandbox::{Doorkeeper, Isolation};
use carafe_builder::spec::{Spec, format_bytes};
use miette::{Diagnostic, Report, miette};

use crate::context::Context;

/// A build's network: a door, or, without a sandbox, none that we know of.
pub struct OpenDoor {
    door: Option<Arc<Door>>,
    recording: bool,
    compared: bool,
}

/// What went through the door, for people and programs.
#[derive(Debug)]
pub struct Traffic {
    /// The record: a new one, or the one that was replayed.
    pub record: Record,
    /// Whether it is new.
    pub recorded: bool,
    /// How it differs from the one before, if there was one.
    pub changes: Vec<Change>,
    /// What was refused, though bench did without.
    pub refusals: Vec<Refusal>,
    /// Requests that were sent again.
    pub tries_again: u64,
    /// Bytes that came from outside.
    pub bytes_fetched: u64,
    /// Bytes that bench was given.
    pub bytes_served: u64,
}

impl OpenDoor {
    /// Opens it. Without a sandbox there is none, and nothing is recorded: that is said.
    pub fn open(spec: &Spec, lock: &Lock, mode: Mode, context: &Context) -> miette::Result<Self> {
        let (recording, compared) = match &mode {
            Mode::Record { previous, .. } => (true, previous.is_some()),
            Mode::Replay(_) => (false, false),
        };
        if context.isolation == Isolation::None {
            let known = "what bench downloads is neither recorded nor replayed";
            context.progress.warn(format!("`--isolation=none` keeps this machine's network: {known}"));
            return Ok(Self { door: None, recording, compared });
        }
        let door = Door::open(DoorConfig {
            mode,
            bodies: Bodies::of(&context.cache)?,
            upstream: spec.network.upstream(context.offline),
            date: lock.source_date_epoch,
            redactor: spec.redactor(),
            progress: context.progress.clone(),
        })?;
        Ok(Self { door: Some(Arc::new(door)), recording, compared })
    }

    /// For the sandbox; to be dropped before the door is closed.
    pub fn keeper(&self) -> Option<Arc<dyn Doorkeeper>> {
        self.door.clone().map(|door| door as Arc<dyn Doorkeeper>)
    }

    /// What bench failed of, if the door knows more than bench.
    ///
    /// A program that went past the proxy may have done so in vain and gone on: it is named, but
    /// not made the cause.
    pub fn explain(&self, error: BenchError, context: &Context) -> Report {
        match self.door.as_ref().and_then(|door| door.trouble()) {
            Some(DoorError::Refused { refusals }) if refusals.iter().all(is_past_the_proxy) => {
                warn(&refusals, context);
                Report::new(error)
            }
            Some(trouble) => Report::new(Shut::new(&error, trouble)),
            None => Report::new(error),
        }
    }

    /// Closes it after bench has ended well. Nothing if there was none.
    ///
    /// Fails if an answer could not be had in a recording: then the record would not be whole; and
    /// if somebody still holds [`keeper`](Self::keeper).
    pub fn close(self, context: &Context) -> miette::Result<Option<Traffic>> {
        let Some(door) = self.door else { return Ok(None) };
        // Not told as no door: the image's lock would name no record.
        let door = Arc::into_inner(door)
            .ok_or_else(|| miette!(help = "tell us", "failed to close the door: it is still in use"))?;
        let passed = door.close()?;
        warn(&passed.refusals, context);
        let Passed { refusals, tries_again, bytes_fetched, bytes_served, .. } = passed;
        let failures = if self.recording { passed.failures } else { Vec::new() };
        if !failures.is_empty() {
            return Err(DoorError::Failed { failures }.into());
        }
        let changes = if self.compared { passed.changes } else { Vec::new() };
        let (record, recorded) = (passed.record, self.recording);
        Ok(Some(Traffic { record, recorded, changes, refusals, tries_again, bytes_fetched, bytes_served }))
    }
}

fn is_past_the_proxy(refusal: &Refusal) -> bool {
    refusal.reason == Reason::NoProxy
}

fn warn(refusals: &[Refusal], context: &Context) {
    for refusal in refusals {
        context.progress.warn(format!("refused: {refusal}"));
    }
    if !refusals.is_empty() {
        context.progress.warn(Refusal::help(refusals));
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (answers, fetched) = (self.record.entries().len(), format_bytes(self.bytes_fetched));
        match self.recorded {
            true => write!(f, "{answers} answers recorded, {fetched} fetched"),
            false => write!(f, "replayed, {fetched} fetched"),
        }
    }
}

/// A step that failed, told together with what the door did not let through.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{step}")]
struct Shut {
    step: String,
    #[help]
    help: String,
    #[source]
    cause: DoorError,
}

impl Shut {
    fn new(error: &BenchError, cause: DoorError) -> Self {
        let mut step = error.to_string();
        let mut below = std::error::Error::source(error);
        while let Some(error) = below {
            step += &format!(": {error}");
            below = error.source();
        }
        let helps = [cause.help(), error.help()].into_iter().flatten().map(|help| help.to_string());
        Self { step, help: helps.collect::<Vec<_>>().join("; "), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_builder::door::Upstream;

    #[test]
    fn a_door_that_somebody_holds_is_not_told_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::at(folder.path());
        let open = || {
            let config = DoorConfig {
                mode: Mode::Replay(Record::default()),
                bodies: Bodies::of(&context.cache).unwrap(),
                upstream: Upstream::default(),
                date: 0,
                redactor: Default::default(),
                progress: context.progress.clone(),
            };
            let door = Some(Arc::new(Door::open(config).unwrap()));
            OpenDoor { door, recording: false, compared: false }
        };
        let held = open();
        let _keeper = held.keeper();
        assert!(held.close(&context).unwrap_err().to_string().contains("still in use"));
        assert!(open().close(&context).unwrap().is_some());
    }
}
