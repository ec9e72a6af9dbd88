//! How a command ended, described once for all formats.

use serde::Serialize;

use super::comparison::Comparison;

/// The result of a command. Serialized, it is `data` in the JSON output: `docs/json.md` describes it.
pub trait CommandResult: Serialize {
    /// The same for people.
    fn content(&self) -> Content<'_>;

    /// Whether a part of the result deserves attention although the command succeeded.
    fn has_warning(&self) -> bool {
        false
    }
}

/// A result for people.
pub enum Content<'a> {
    /// Lines; a text that is empty is not printed.
    Text {
        /// For stdout: what a script reads.
        output: String,
        /// For stderr, unless `--quiet` is set.
        summary: String,
    },
    /// A comparison of two images, for stdout unless `--quiet` is set: the exit code has the answer.
    Comparison(&'a dyn Comparison),
}

/// How a command ended.
pub struct Outcome<'a, R> {
    /// The command's name in the JSON output.
    pub command: &'static str,
    /// The exit code of the process; not 0 if there is an error.
    pub exit_code: u8,
    /// The result, if the command reached one.
    pub result: Option<&'a R>,
    /// Why the command did not do everything that it was asked to do.
    pub error: Option<&'a miette::Report>,
}

/// The result of a command that did not reach one.
#[derive(Serialize)]
pub enum NoResult {}

impl CommandResult for NoResult {
    fn content(&self) -> Content<'_> {
        match *self {}
    }
}
