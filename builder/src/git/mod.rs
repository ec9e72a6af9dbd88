//! Git, used by the lock and the fetch stages alone.

mod id;

pub use id::{CommitId, ParseIdError, TreeId};
