//! Warnings, and what a script reads.

use std::io;
use std::sync::Arc;

use carafe_builder::progress::Progress;

use super::plain::Plain;
use super::result::{CommandResult, Content, Outcome};
use super::streams;

/// Prints warnings only.
pub fn progress() -> Progress {
    Progress::new(Arc::new(Plain::quiet()))
}

/// Prints the lines for scripts.
pub fn result<R: CommandResult>(outcome: &Outcome<'_, R>) -> io::Result<()> {
    match outcome.result.map(CommandResult::content) {
        Some(Content::Text { output, .. }) => streams::to_stdout(&output),
        Some(Content::Comparison(_)) | None => Ok(()),
    }
}
