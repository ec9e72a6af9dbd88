//! The output formats.

use std::io;
use std::sync::Arc;

use carafe_builder::progress::Progress;

use super::json::Json;
use super::result::{CommandResult, Outcome};
use super::{json, markdown, quiet, text};

/// How progress and the result of a command are written.
#[derive(Clone)]
pub enum OutputFormat {
    /// Bars on a terminal, plain lines elsewhere.
    Text {
        /// Every row of a comparison is printed, and complete digests.
        all: bool,
    },
    /// Text without progress and summary: warnings, errors, and what a script reads.
    Quiet,
    /// Text, with comparisons as tables for a merge request.
    Markdown {
        /// Every row of a comparison is printed.
        all: bool,
    },
    /// JSON lines for programs.
    Json(Arc<Json>),
}

impl OutputFormat {
    /// JSON lines, with a new list of warnings.
    pub fn json() -> Self {
        Self::Json(Arc::default())
    }

    /// Receives the tasks and warnings of a run.
    pub fn progress(&self) -> Progress {
        match self {
            Self::Text { .. } | Self::Markdown { .. } => text::progress(),
            Self::Quiet => quiet::progress(),
            Self::Json(json) => json::progress(json),
        }
    }

    /// Writes how a command ended. An error goes to stderr in each format.
    ///
    /// Fails if stdout cannot be written, which is not an error of the command: the reader may have
    /// closed it.
    pub fn result<R: CommandResult>(&self, outcome: &Outcome<'_, R>) -> io::Result<()> {
        let written = match self {
            Self::Text { all } => text::result(outcome, *all),
            Self::Quiet => quiet::result(outcome),
            Self::Markdown { all } => markdown::result(outcome, *all),
            Self::Json(json) => json::result(json, outcome),
        };
        if let Some(error) = outcome.error {
            super::streams::to_stderr(format_args!("{error:?}"));
        }
        written
    }
}
