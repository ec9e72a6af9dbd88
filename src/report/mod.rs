//! What the user sees: progress while it runs, a table at the end, errors.
//!
//! Data goes to stdout, everything else to stderr.

pub mod diff;
mod json;
mod line;
mod lines;
pub mod materials;
mod plain;
mod rows;
mod screen;
mod sections;
mod table;
mod terminal;
pub mod verify;

use std::io::IsTerminal;
use std::sync::Arc;

use carafe_builder::progress::{Progress, Stage};

pub use json::emit;
pub use line::clock;
pub use lines::{foreign_to_stdout, to_stderr, to_stdout};
pub use rows::{fates, image_rows, push_json, pushed_names, sent};
pub use sections::{Form, SHOWN};
pub use table::{LayerRow, layer_table};

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// One JSON object for each event, on stdout.
    Json,
    /// Warnings alone.
    Quiet,
}

/// Progress in this style.
pub fn progress(style: Style) -> Progress {
    match style {
        Style::Json => Progress::new(Arc::new(json::Json::default())),
        Style::Quiet => Progress::new(Arc::new(plain::Plain::quiet())),
        Style::Auto if std::io::stderr().is_terminal() => Progress::new(Arc::new(terminal::Terminal::new())),
        Style::Auto => Progress::new(Arc::new(plain::Plain::default())),
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
