//! The door of one build: opened before bench runs, and settled when it has.

use std::sync::Arc;

use carafe_builder::bench::BenchError;
use carafe_builder::egress::{
    BlockReason, BlockedRequest, BodyStore, EgressConfig, EgressError, EgressProxy, EgressReport, Mode,
    Recording, RecordingChange, Upstream,
};
use carafe_builder::lock::Lock;
use carafe_builder::sandbox::{Isolation, ProxyHandle};
use carafe_builder::spec::{Network, Spec, format_bytes};
use miette::{Diagnostic, Report, miette};

use crate::context::Context;

/// A build's network: a door, or, without a sandbox, none that we know of.
pub struct BuildProxy {
    proxy: Option<Arc<EgressProxy>>,
    recording: bool,
    compared: bool,
}

/// What went through the door, for people and programs.
#[derive(Debug)]
pub struct Traffic {
    /// The record: a new one, or the one that was replayed.
    pub record: Recording,
    /// Whether it is new.
    pub recorded: bool,
    /// How it differs from the one before, if there was one.
    pub changes: Vec<RecordingChange>,
    /// What was refused, though bench did without.
    pub refusals: Vec<BlockedRequest>,
    /// Requests that were sent again.
    pub tries_again: u64,
    /// Bytes that came from outside.
    pub bytes_fetched: u64,
    /// Bytes that bench was given.
    pub bytes_served: u64,
}

impl BuildProxy {
    /// Opens it. Without a sandbox there is none, and nothing is recorded: that is said.
    pub fn open(spec: &Spec, lock: &Lock, mode: Mode, context: &Context) -> miette::Result<Self> {
        let (recording, compared) = match &mode {
            Mode::Record { previous, .. } => (true, previous.is_some()),
            Mode::Replay(_) => (false, false),
        };
        if context.isolation == Isolation::None {
            let known = "what bench downloads is neither recorded nor replayed";
            context.progress.warn(format!("`--isolation=none` keeps this machine's network: {known}"));
            return Ok(Self { proxy: None, recording, compared });
        }
        let proxy = EgressProxy::open(EgressConfig {
            mode,
            bodies: BodyStore::of(&context.cache)?,
            upstream: upstream(&spec.network, context.offline),
            date: lock.source_date_epoch,
            redactor: spec.redactor(),
            progress: context.progress.clone(),
        })?;
        Ok(Self { proxy: Some(Arc::new(proxy)), recording, compared })
    }

    /// For the sandbox; to be dropped before the door is closed.
    pub fn keeper(&self) -> Option<Arc<dyn ProxyHandle>> {
        self.proxy.clone().map(|proxy| proxy as Arc<dyn ProxyHandle>)
    }

    /// What bench failed of, if the door knows more than bench.
    ///
    /// A program that went past the proxy may have done so in vain and gone on: it is named, but
    /// not made the cause.
    pub fn explain(&self, error: BenchError, context: &Context) -> Report {
        match self.proxy.as_ref().and_then(|proxy| proxy.explain_failure()) {
            Some(EgressError::Blocked { requests }) if requests.iter().all(is_past_the_proxy) => {
                warn(&requests, context);
                Report::new(error)
            }
            Some(attempt_error) => Report::new(StepDenied::new(&error, attempt_error)),
            None => Report::new(error),
        }
    }

    /// Closes it after bench has ended well. Nothing if there was none.
    ///
    /// Fails if an answer could not be had in a recording: then the record would not be whole; and
    /// if somebody still holds [`keeper`](Self::keeper).
    pub fn close(self, context: &Context) -> miette::Result<Option<Traffic>> {
        let Some(proxy) = self.proxy else { return Ok(None) };
        // Not told as no door: the image's lock would name no record.
        let proxy = Arc::into_inner(proxy)
            .ok_or_else(|| miette!(help = "tell us", "failed to close the door: it is still in use"))?;
        let report = proxy.close()?;
        warn(&report.blocked, context);
        let EgressReport { blocked: refusals, retries: tries_again, bytes_fetched, bytes_served, .. } =
            report;
        let failures = if self.recording { report.failed } else { Vec::new() };
        if !failures.is_empty() {
            return Err(EgressError::Fetch { requests: failures }.into());
        }
        let changes = if self.compared { report.changes } else { Vec::new() };
        let (record, recorded) = (report.recording, self.recording);
        Ok(Some(Traffic { record, recorded, changes, refusals, tries_again, bytes_fetched, bytes_served }))
    }
}

/// What the user's spec and configuration say about the network outside.
fn upstream(network: &Network, offline: bool) -> Upstream {
    Upstream {
        mirrors: network.mirrors.clone(),
        credentials: network.credentials.clone(),
        private_hosts: network.private_hosts.clone(),
        refused_hosts: network.refused_hosts.clone(),
        offline,
        ..Upstream::default()
    }
}

fn is_past_the_proxy(refusal: &BlockedRequest) -> bool {
    refusal.reason == BlockReason::Bypass
}

fn warn(refusals: &[BlockedRequest], context: &Context) {
    for refusal in refusals {
        context.progress.warn(format!("refused: {refusal}"));
    }
    if !refusals.is_empty() {
        context.progress.warn(BlockedRequest::help(refusals));
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
struct StepDenied {
    step: String,
    #[help]
    help: String,
    #[source]
    cause: EgressError,
}

impl StepDenied {
    fn new(error: &BenchError, cause: EgressError) -> Self {
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
    use carafe_builder::egress::Upstream;

    #[test]
    fn a_door_that_somebody_holds_is_not_told_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let context = Context::at(directory.path());
        let open = || {
            let config = EgressConfig {
                mode: Mode::Replay(Recording::default()),
                bodies: BodyStore::of(&context.cache).unwrap(),
                upstream: Upstream::default(),
                date: 0,
                redactor: Default::default(),
                progress: context.progress.clone(),
            };
            let proxy = Some(Arc::new(EgressProxy::open(config).unwrap()));
            BuildProxy { proxy, recording: false, compared: false }
        };
        let held = open();
        let _keeper = held.keeper();
        assert!(held.close(&context).unwrap_err().to_string().contains("still in use"));
        assert!(open().close(&context).unwrap().is_some());
    }
}
