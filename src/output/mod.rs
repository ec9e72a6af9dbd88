//! What the user sees: progress while it runs, a table at the end, errors.
//!
//! Data goes to stdout, everything else to stderr.

mod json;
mod line;
mod lines;
mod plain;
mod rows;
mod screen;
pub(crate) mod sections;
mod table;
mod terminal;

use std::io::IsTerminal;
use std::sync::Arc;

use carafe_builder::progress::{Progress, Stage};

pub use json::emit;
pub use line::clock;
pub use lines::{foreign_to_stdout, to_stderr, to_stdout};
pub use rows::{fates, image_rows, push_json, pushed_names, sent};
pub use sections::{Form, MAX_SHOWN_ROWS};
pub use table::{LayerRow, layer_table};

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutputFormat {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// One JSON object for each event, on stdout.
    Json,
    /// Warnings alone.
    Quiet,
}

/// Progress in this style.
pub fn progress(style: OutputFormat) -> Progress {
    match style {
        OutputFormat::Json => Progress::new(Arc::new(json::Json::default())),
        OutputFormat::Quiet => Progress::new(Arc::new(plain::Plain::quiet())),
        OutputFormat::Auto if std::io::stderr().is_terminal() => {
            Progress::new(Arc::new(terminal::Terminal::new()))
        }
        OutputFormat::Auto => Progress::new(Arc::new(plain::Plain::default())),
    }
}

/// A stage's name, as shown.
fn label(stage: Stage) -> &'static str {
    match stage {
        Stage::Lock => "lock",
        Stage::Fetch => "fetch",
        Stage::Build => "build",
        Stage::Pack => "pack",
        Stage::Push => "push",
    }
}
