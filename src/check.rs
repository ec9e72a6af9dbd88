//! One check of `carafe doctor`, and its result.

use miette::Diagnostic;
use serde::Serialize;

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Everything works.
    Pass,
    /// Usable, with a limitation.
    Warn,
    /// A build or push fails.
    Fail,
    /// Not checked.
    Skipped,
}

impl CheckStatus {
    /// As in the JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was checked: one word.
    pub name: &'static str,
    /// The result.
    pub status: CheckStatus,
    /// The result in one line.
    pub message: String,
    /// The next action, in one line.
    pub help: Option<String>,
}

impl Check {
    /// A check that passed.
    pub fn pass(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Pass, message: message.into(), help: None }
    }

    /// A check that found a limitation.
    pub fn warn(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Warn, message: message.into(), help: None }
    }

    /// A check that was not done, and why.
    pub fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Skipped, message: message.into(), help: None }
    }

    /// A check that failed with this error; the message has the error and its deepest cause.
    pub fn failed(name: &'static str, error: &dyn Diagnostic) -> Self {
        let mut message = error.to_string();
        let deepest = std::iter::successors(error.source(), |&cause| cause.source()).last();
        if let Some(cause) = deepest {
            message += &format!(": {cause}");
        }
        let help = error.help().map(|help| help.to_string());
        Self { name, status: CheckStatus::Fail, message, help }
    }

    /// A check that failed, and the next action.
    pub fn fail(name: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Fail, message: message.into(), help: Some(help.into()) }
    }
}
