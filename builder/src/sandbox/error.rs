//! Why a sandbox cannot be set up, or a step in it failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::exit_reason::ExitReason;
use super::setup_error::SetupOperation;

/// Why a sandbox cannot be set up, or a step in it failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SandboxError {
    /// A file operation on this machine failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("check that the directory exists, that you own it, and that its disk has free space"))]
    Io {
        /// The operation.
        verb: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A path that must be absolute is not.
    #[error("failed to prepare the sandbox: `{path}` is not an absolute path without `..`")]
    #[diagnostic(help("use absolute paths for everything in the sandbox"))]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// Without private files, no file of this machine is overwritten.
    #[error("failed to prepare the build on this machine: `{path}` exists")]
    #[diagnostic(help("remove it, or build without `--isolation=none`"))]
    AlreadyExists {
        /// What exists.
        path: PathBuf,
    },
    /// The process that enters the sandbox could not be started, or failed without a report.
    #[error("failed to start the sandbox's launcher `{path}`")]
    Launcher {
        /// The executable.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This machine does not allow what a sandbox requires, or a file for it is missing.
    #[error("failed to set up the sandbox: {operation}")]
    Setup {
        /// The operation that failed.
        operation: SetupOperation,
        /// What can be done.
        #[help]
        help: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A command failed, or exceeded a limit.
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

/// A command that failed: which, how, and its last output.
#[derive(Debug)]
pub struct StepError {
    /// The step's name.
    pub step: String,
    /// How it ended.
    pub reason: ExitReason,
    /// The last lines of its output, redacted; at most [`StepError::MAX_TAIL_LINES`].
    pub tail: Vec<String>,
    /// The file that has all of its output.
    pub log: PathBuf,
}

impl StepError {
    /// How many lines of output an error has.
    pub const MAX_TAIL_LINES: usize = 20;

    const SIGABRT: i32 = 6;
    const SIGKILL: i32 = 9;

    fn help_text(&self) -> String {
        let log = format!("the complete log is in `{}`", self.log.display());
        match self.reason {
            ExitReason::Exit(137) | ExitReason::Signal(Self::SIGKILL) | ExitReason::Lost => format!(
                "137 (signal 9) usually means that the kernel ran out of memory: give this machine or container more, or lower [build] memory in carafe.toml; {log}"
            ),
            ExitReason::Exit(134) | ExitReason::Signal(Self::SIGABRT) => format!(
                "134 (signal 6) is how node ends when its heap is full: raise [build] memory in carafe.toml; {log}"
            ),
            ExitReason::WallClockLimit(_) => {
                format!("if the step requires more time, raise [build] timeout in carafe.toml; {log}")
            }
            ExitReason::MemoryLimit { .. } => format!("raise [build] memory in carafe.toml; {log}"),
            ExitReason::Cancelled => "run it again: downloads are kept".to_owned(),
            ExitReason::Exit(_) | ExitReason::Signal(_) => log,
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to run step `{}`: {}", self.step, self.reason)?;
        if self.reason != ExitReason::Cancelled && !self.tail.is_empty() {
            f.write_str("; the last lines of its output:")?;
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
        Some(Box::new(self.help_text()))
    }
}
