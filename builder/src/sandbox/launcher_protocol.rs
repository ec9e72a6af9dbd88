//! The messages between Carafe and its launcher: one request, then reports. Each is one JSON
//! document on one line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{Bind, InjectedFile, Limits, Network};
use super::exit_reason::ExitReason;
use super::isolation::Isolation;
use super::setup_error::SetupError;

/// All that the launcher needs for one step.
#[derive(Serialize, Deserialize)]
pub(super) struct LaunchRequest {
    pub isolation: Isolation,
    pub network: Network,
    /// Has the directories of [`scratch`](super::scratch).
    pub scratch: PathBuf,
    pub binds: Vec<Bind>,
    /// The configuration of name resolution and CA certificates. The step may change these files.
    pub network_files: Vec<InjectedFile>,
    /// Read-only to the step.
    pub files: Vec<InjectedFile>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// Empty for a probe: set everything up, run nothing.
    pub argv: Vec<String>,
    pub limits: Limits,
}

/// What the launcher reports. The last report is the result.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The sandbox is set up; the command is about to start.
    Started,
    /// The sandbox cannot be set up.
    Failed(SetupError),
    /// The command ended. `reason` is `None` for exit status 0.
    Ended { reason: Option<ExitReason>, peak_memory: u64, elapsed: Duration },
}
