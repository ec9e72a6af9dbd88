//! The distance between two commits, which requires their history.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use super::bare;
use super::error::GitError;
use super::id::CommitId;
use super::limits::MAX_COMMITS;
use super::remote::Remote;
use super::resolve::{backend_for, with_credential_helper};

/// The numbers of commits that are in the history of only one of two commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Distance {
    /// Commits in the history of the second only.
    pub ahead: u64,
    /// Commits in the history of the first only.
    pub behind: u64,
}

/// The distance from `from` to `to`, both in the repository `remote`. `scratch` is an empty
/// directory; it is created if it does not exist.
///
/// Transfers all commits in both histories, without trees and blobs if the server supports object
/// filters.
pub fn distance(
    remote: &Remote,
    from: &CommitId,
    to: &CommitId,
    scratch: &Path,
) -> Result<Distance, GitError> {
    bare::create(scratch)?;
    with_credential_helper(remote, |remote| backend_for(remote).fetch_history(remote, &[from, to], scratch))?;
    let repository = bare::open(scratch)?;
    let [from, to] = [from, to].map(|commit| history(&repository, commit, scratch));
    let (from, to) = (from?, to?);
    let only = |one: &HashSet<_>, other: &HashSet<_>| one.difference(other).count() as u64;
    Ok(Distance { ahead: only(&to, &from), behind: only(&from, &to) })
}

/// The commit and its ancestors.
fn history(
    repository: &gix::Repository,
    commit: &CommitId,
    scratch: &Path,
) -> Result<HashSet<gix::ObjectId>, GitError> {
    let failed = || GitError::repository("walk the history in", scratch);
    let mut history = HashSet::new();
    for next in repository.rev_walk([bare::object_id(commit.as_str())]).all().map_err(failed())? {
        history.insert(next.map_err(failed())?.id);
        if history.len() as u64 > MAX_COMMITS {
            return Err(GitError::too_many(
                format!("the history of commit {commit}"),
                MAX_COMMITS,
                "commits",
            ));
        }
    }
    Ok(history)
}
