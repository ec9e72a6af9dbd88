//! One run of a command: its name and its output format, and how it ends.

use miette::{Report, miette};

use super::{exit, stop};
use crate::output::{CommandResult, NoResult, Outcome, OutputFormat};

/// One run of a command.
pub struct Run {
    /// The command's name in the JSON output.
    pub command: &'static str,
    /// How progress and result are written.
    pub format: OutputFormat,
}

impl Run {
    /// Shows the result, and returns the exit code. With an `error`, the command did only a part of
    /// what it was asked to do, and failed.
    pub fn finish(&self, exit_code: u8, result: &impl CommandResult, error: Option<&Report>) -> u8 {
        if stop::requested() {
            return self.stopped();
        }
        let exit_code = if error.is_some() { exit::FAILED } else { exit_code };
        self.show(&Outcome { command: self.command, exit_code, result: Some(result), error })
    }

    /// Shows why the command has no result, and returns the exit code.
    pub fn failed(&self, error: &Report) -> u8 {
        if stop::requested() {
            return self.stopped();
        }
        self.show(&Outcome::<NoResult> {
            command: self.command,
            exit_code: exit::FAILED,
            result: None,
            error: Some(error),
        })
    }

    /// The user stopped the command: errors after that are a consequence, and only programs are told.
    fn stopped(&self) -> u8 {
        let error = miette!("stopped by a signal");
        match self.format {
            OutputFormat::Json(_) => self.show(&Outcome::<NoResult> {
                command: self.command,
                exit_code: exit::STOPPED,
                result: None,
                error: Some(&error),
            }),
            _ => exit::STOPPED,
        }
    }

    fn show(&self, outcome: &Outcome<'_, impl CommandResult>) -> u8 {
        // A reader that closed stdout is not an error: the exit code has the answer.
        let _ = self.format.result(outcome);
        outcome.exit_code
    }
}
