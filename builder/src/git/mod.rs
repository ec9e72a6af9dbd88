//! Git, used by the lock and the fetch stages alone.

mod id;

pub use id::{CommitId, ParseIdError, TreeId};

use serde::{Deserialize, Serialize};

/// What a name of a commit is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefKind {
    /// `refs/heads/…`: it moves.
    Branch,
    /// `refs/tags/…`: it should not.
    Tag,
}
