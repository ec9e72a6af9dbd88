//! Why a sandbox could not be had, or a step in it failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::launcher_protocol::Setup;

/// Why a sandbox could not be had, or a step in it failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SandboxError {
    /// A file operation on this machine failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("check that the directory exists, is yours, and that its disk has room"))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A path that must be absolute is not.
    #[error("failed to prepare the sandbox: `{path}` is not an absolute path without `..`")]
    #[diagnostic(help("paths inside the sandbox are absolute"))]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// Without isolation nothing on this machine is overwritten.
    #[error("failed to prepare the build on this machine: `{path}` is there already")]
    #[diagnostic(help("remove it, or build with namespaces (without --isolation=none)"))]
    InTheWay {
        /// What is there.
        path: PathBuf,
    },
    /// The process that enters the sandbox could not be started, or broke down.
    #[error("failed to start the sandbox's launcher `{path}`")]
    Launcher {
        /// The executable.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This machine does not allow what a sandbox needs, or a file for it is missing.
    #[error("failed to set up the sandbox: {setup}")]
    Setup {
        /// What was tried.
        setup: Setup,
        /// What can be done.
        #[help]
        help: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A command failed, or went over a limit.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Step(Box<StepError>),
}

impl SandboxError {
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}

/// How a command ended that did not end well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExitReason {
    /// With this exit status.
    Exit(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// It ran longer than it may.
    WallLimit(Duration),
    /// Its processes held more bytes than they may.
    MemoryLimit {
        /// In bytes.
        limit: u64,
        /// In bytes.
        seen: u64,
    },
    /// [`CancelToken::cancel`](super::CancelToken::cancel) was called.
    Cancelled,
    /// The sandbox's own process was killed from outside.
    Lost,
}

/// A command that failed: which, how, and what it said last.
#[derive(Debug)]
pub struct StepError {
    /// The step's name.
    pub step: String,
    /// How it ended.
    pub ending: ExitReason,
    /// Its last lines, redacted; at most [`StepError::TAIL`].
    pub tail: Vec<String>,
    /// Where all of its output is.
    pub log: PathBuf,
}

impl StepError {
    /// How many lines of output an error carries.
    pub const TAIL: usize = 20;

    const KILLED: i32 = 9;

    fn advice(&self) -> String {
        let log = self.log.display();
        match self.ending {
            ExitReason::Exit(137) | ExitReason::Signal(Self::KILLED) | ExitReason::Lost => format!(
                "137 (signal 9) mostly means that the kernel ran out of memory: give this machine or container more, or lower what the build takes ([build] memory in carafe.toml); the whole log is at `{log}`"
            ),
            ExitReason::Exit(134) | ExitReason::Signal(6) => format!(
                "134 (signal 6) is how node ends when its heap is full: raise [build] memory in carafe.toml; the whole log is at `{log}`"
            ),
            ExitReason::WallLimit(_) => {
                format!(
                    "raise [build] timeout in carafe.toml if it needs longer; the whole log is at `{log}`"
                )
            }
            ExitReason::MemoryLimit { .. } => {
                format!("raise [build] memory in carafe.toml; the whole log is at `{log}`")
            }
            ExitReason::Cancelled => "run it again: what was fetched is kept".to_owned(),
            ExitReason::Exit(_) | ExitReason::Signal(_) => format!("the whole log is at `{log}`"),
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to run step `{}`: {}", self.step, self.ending)?;
        if self.ending != ExitReason::Cancelled && !self.tail.is_empty() {
            f.write_str("; its last lines:")?;
            for line in &self.tail {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for StepError {}

impl miette::Diagnostic for StepError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.advice()))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match self {
            Self::Exit(status) => write!(f, "it ended with exit status {status}"),
            Self::Signal(signal) => write!(f, "it was killed by signal {signal}"),
            Self::WallLimit(limit) => write!(f, "it ran longer than {} s", limit.as_secs_f32()),
            Self::MemoryLimit { limit, seen } => {
                write!(f, "it held {} MiB of memory, more than its limit of {} MiB", seen / MIB, limit / MIB)
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Lost => f.write_str("the sandbox was killed from outside"),
        }
    }
}
