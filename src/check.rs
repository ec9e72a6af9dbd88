//! One thing that was looked at, and what was found: what `carafe doctor` is made of.

use miette::Diagnostic;

/// How it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be.
    Fine,
    /// Usable; this may cost something.
    Note,
    /// In the way.
    Wrong,
    /// Not looked at.
    Skipped,
}

impl State {
    /// In a word, for machines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What: one word.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// In one line.
    pub message: String,
    /// What to do about it, in one line.
    pub help: Option<String>,
}

impl Check {
    /// All is well.
    pub fn fine(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Fine, message: message.into(), help: None }
    }

    /// Worth knowing.
    pub fn note(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Note, message: message.into(), help: None }
    }

    /// Not looked at, and why.
    pub fn skipped(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Skipped, message: message.into(), help: None }
    }

    /// In the way, by this error and its deepest cause.
    pub fn failed(name: &'static str, error: &dyn Diagnostic) -> Self {
        let mut message = error.to_string();
        let deepest = std::iter::successors(error.source(), |&cause| cause.source()).last();
        if let Some(cause) = deepest {
            message += &format!(": {cause}");
        }
        let help = error.help().map(|help| help.to_string());
        Self { name, state: State::Wrong, message, help }
    }

    /// In the way, and what to do about it.
    pub fn wrong(name: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, state: State::Wrong, message: message.into(), help: Some(help.into()) }
    }
}
