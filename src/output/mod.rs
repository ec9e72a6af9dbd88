//! What the user sees: progress while a command runs, its result, errors.
//!
//! Data goes to stdout, everything else to stderr. [`OutputFormat`] selects how both are written; each
//! format is a module of its own (`text`, `quiet`, `markdown`, `json`) with two functions: `progress`
//! returns what receives tasks and warnings, `result` writes the end of a command. A command describes
//! its result once, as a [`CommandResult`].
//!
//! Import order, lowest first: `streams`, `columns`, `screen`, `plain`, `terminal`, `table`,
//! `comparison`, `result`, `quiet`, `text`, `markdown`, `json`, `format`.

mod columns;
mod comparison;
mod format;
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

pub use self::columns::elapsed_time;
pub use self::comparison::{Comparison, MAX_SHOWN_ROWS, Row, Section, Sides};
pub use self::format::OutputFormat;
pub use self::markdown::write_comparison as write_markdown;
pub use self::result::{CommandResult, Content, NoResult, Outcome};
pub use self::streams::to_stderr;
pub use self::table::{LayerRow, layer_table};
pub use self::text::write_comparison as write_text;
