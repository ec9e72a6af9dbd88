//! IDs of git objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The 40 hexadecimal digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let valid = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                valid.then(|| Self(text.to_owned())).ok_or_else(|| ParseIdError::new(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

object_id!(
    /// The ID of a commit: 40 lower-case hexadecimal digits of SHA-1. Abbreviations are rejected,
    /// since they can become ambiguous.
    CommitId
);
object_id!(
    /// The ID of a commit's tree: it depends on the files alone, not on message, time and parents.
    TreeId
);

/// The text is not a complete object ID.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to parse `{text}` as a commit ID: expected 40 lower-case hexadecimal digits")]
#[diagnostic(help("`git rev-parse <name>^{{commit}}` prints the complete ID"))]
pub struct ParseIdError {
    text: String,
}

impl ParseIdError {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(100).collect() }
    }
}
