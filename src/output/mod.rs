//! What the user sees: progress while a command runs, its result, errors.
//!
//! Data goes to stdout, everything else to stderr. [`OutputFormat`] selects how both are written; each
//! format is a module of its own (`text`, `quiet`, `markdown`, `json`) with a function `result`, which
//! writes the end of a command, and a function `progress`, which returns what receives tasks and
//! warnings (`markdown` uses that of `text`). A command describes its result once, as a
//! [`CommandResult`].
//!
//! To add a format, write its module (`quiet` is the shortest), add it here, and add its flag to
//! `cli::inputs`.
//!
//! Import order, lowest first: `streams`, `columns`, `screen`, `plain`, `terminal`, `table`,
//! `comparison`, `result`, `quiet`, `text`, `markdown`, `json`.

mod columns;
mod comparison;
mod json;
mod markdown;
mod plain;
mod quiet;
mod result;
mod screen;
mod streams;
mod table;
mod terminal;
mod text;

use std::io;
use std::sync::Arc;

use carafe_builder::progress::Progress;

use self::json::Json;

pub use self::columns::elapsed_time;
pub use self::comparison::{Comparison, MAX_SHOWN_ROWS, Row, Section, Sides};
pub use self::markdown::write_comparison as write_markdown;
pub use self::result::{CommandResult, Content, NoResult, Outcome};
pub use self::streams::to_stderr;
pub use self::table::{LayerRow, layer_table};
pub use self::text::write_comparison as write_text;

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
            to_stderr(format_args!("{error:?}"));
        }
        written
    }
}
