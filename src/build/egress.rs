//! The egress proxy of one build: opened before bench runs, and closed after it.

use std::sync::Arc;

use carafe_builder::bench::BenchError;
use carafe_builder::egress::{
    BlockReason, BlockedRequest, BodyStore, EgressConfig, EgressError, EgressProxy, EgressReport, Mode,
    Recording, RecordingChange, Upstream,
};
use carafe_builder::lock::Lock;
use carafe_builder::sandbox::ProxyHandle;
use carafe_builder::spec::{Network, Spec, format_bytes};
use miette::{Diagnostic, Report, miette};

use super::policy::BuildPolicy;
use crate::context::Context;

/// The network of a build: the egress proxy, or, without a sandbox, this machine's network.
pub struct BuildProxy {
    proxy: Option<Arc<EgressProxy>>,
    is_recording: bool,
    has_previous: bool,
}

/// The network traffic of one build.
#[derive(Debug)]
pub struct Traffic {
    /// The recording: a new one, or the replayed one.
    pub recording: Recording,
    /// Whether the recording is new.
    pub is_new: bool,
    /// The differences between a new recording and the previous one, if there is one.
    pub changes: Vec<RecordingChange>,
    /// Requests that were blocked. The build succeeded without them.
    pub blocked: Vec<BlockedRequest>,
    /// The number of retries of requests to servers.
    pub retries: u64,
    /// Bytes received from servers.
    pub bytes_fetched: u64,
    /// Bytes sent to the build.
    pub bytes_served: u64,
}

impl BuildProxy {
    /// Starts the proxy. Without a sandbox there is no proxy and no recording, and the user gets a warning.
    pub fn open(
        spec: &Spec,
        lock: &Lock,
        mode: Mode,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> miette::Result<Self> {
        let (is_recording, has_previous) = match &mode {
            Mode::Record { previous, .. } => (true, previous.is_some()),
            Mode::Replay(_) => (false, false),
        };
        if !policy.isolation.can_record() {
            let effect = "what bench downloads is neither recorded nor replayed";
            context.progress.warn(format!("`--isolation=none` uses the network of this machine: {effect}"));
            return Ok(Self { proxy: None, is_recording, has_previous });
        }
        let proxy = EgressProxy::open(EgressConfig {
            mode,
            bodies: BodyStore::of(&context.cache)?,
            upstream: upstream(&spec.network, policy.offline),
            date: lock.source_date_epoch,
            redactor: spec.redactor(),
            progress: context.progress.clone(),
        })?;
        Ok(Self { proxy: Some(Arc::new(proxy)), is_recording, has_previous })
    }

    /// The handle for the sandbox. It must be dropped before [`close`](Self::close).
    pub fn handle(&self) -> Option<Arc<dyn ProxyHandle>> {
        self.proxy.clone().map(|proxy| proxy as Arc<dyn ProxyHandle>)
    }

    /// Adds the blocked and failed requests to the error of a step, as its cause.
    ///
    /// Attempts to bypass the proxy are only warnings: programs often continue without such a connection, so
    /// there is no evidence that one is the cause.
    pub fn explain(&self, error: BenchError, context: &Context) -> Report {
        match self.proxy.as_ref().and_then(|proxy| proxy.explain_failure()) {
            Some(EgressError::Blocked { requests }) if requests.iter().all(is_bypass) => {
                warn(&requests, context);
                Report::new(error)
            }
            Some(cause) => Report::new(StepDenied::new(&error, cause)),
            None => Report::new(error),
        }
    }

    /// Closes the proxy after a successful build. `None` if there is no proxy.
    ///
    /// Fails if a request failed while recording, because the recording would be incomplete, and if a
    /// [`handle`](Self::handle) still exists.
    pub fn close(self, context: &Context) -> miette::Result<Option<Traffic>> {
        let Some(proxy) = self.proxy else { return Ok(None) };
        // An error rather than `None`, with which the lock of the image would have no recording.
        let proxy = Arc::into_inner(proxy).ok_or_else(|| {
            miette!(
                help = "this is a bug in carafe, please report it",
                "failed to close the egress proxy: it is still in use"
            )
        })?;
        let EgressReport {
            recording, changes, blocked, failed, retries, bytes_fetched, bytes_served, ..
        } = proxy.close()?;
        warn(&blocked, context);
        if self.is_recording && !failed.is_empty() {
            return Err(EgressError::Fetch { requests: failed }.into());
        }
        Ok(Some(Traffic {
            recording,
            is_new: self.is_recording,
            changes: if self.has_previous { changes } else { Vec::new() },
            blocked,
            retries,
            bytes_fetched,
            bytes_served,
        }))
    }
}

/// The settings of the spec and of the user's config file for connections to servers.
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

fn is_bypass(request: &BlockedRequest) -> bool {
    request.reason == BlockReason::Bypass
}

fn warn(blocked: &[BlockedRequest], context: &Context) {
    for request in blocked {
        context.progress.warn(format!("blocked: {request}"));
    }
    if !blocked.is_empty() {
        context.progress.warn(BlockedRequest::help(blocked));
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (responses, fetched) = (self.recording.entries().len(), format_bytes(self.bytes_fetched));
        match self.is_new {
            true if responses == 1 => write!(f, "1 response recorded, {fetched} fetched"),
            true => write!(f, "{responses} responses recorded, {fetched} fetched"),
            false => write!(f, "replayed, {fetched} fetched"),
        }
    }
}

/// A step that failed, and requests that were blocked or failed.
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
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            step += &format!(": {error}");
            source = error.source();
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
    fn fails_to_close_a_proxy_that_is_in_use() {
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
            BuildProxy { proxy, is_recording: false, has_previous: false }
        };
        let proxy = open();
        let _handle = proxy.handle();
        assert!(proxy.close(&context).unwrap_err().to_string().contains("still in use"));
        assert!(open().close(&context).unwrap().is_some());
    }
}
