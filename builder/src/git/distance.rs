//! How far two commits are apart, which takes their history.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use super::backend::{backend_for, with_helper};
use super::{CommitId, GitError, Remote, bare};

/// A longer history is no repository of an app.
const MAX_COMMITS: usize = 5_000_000;

/// How many commits only one of two has in its history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Distance {
    /// Only the second has them.
    pub ahead: u64,
    /// Only the first has them.
    pub behind: u64,
}

/// How far `to` is from `from`, both in the repository `remote`. `scratch` is an empty directory, made
/// if it is not there.
///
/// Cost: all commits that either has in its history, without trees and files where the server can
/// leave them out.
pub fn distance(
    remote: &Remote,
    from: &CommitId,
    to: &CommitId,
    scratch: &Path,
) -> Result<Distance, GitError> {
    bare::create(scratch)?;
    with_helper(remote, |remote| backend_for(remote).history(remote, &[from, to], scratch))?;
    let repository = bare::open(scratch)?;
    let [from, to] = [from, to].map(|commit| reached(&repository, commit, scratch));
    let (from, to) = (from?, to?);
    let only = |one: &HashSet<_>, other: &HashSet<_>| one.difference(other).count() as u64;
    Ok(Distance { ahead: only(&to, &from), behind: only(&from, &to) })
}

/// The commit and all that went before it.
fn reached(
    repository: &gix::Repository,
    commit: &CommitId,
    scratch: &Path,
) -> Result<HashSet<gix::ObjectId>, GitError> {
    let failed = || GitError::store("walk the history in", scratch);
    let mut reached = HashSet::new();
    for next in repository.rev_walk([bare::object_id(commit.as_str())]).all().map_err(failed())? {
        reached.insert(next.map_err(failed())?.id);
        if reached.len() > MAX_COMMITS {
            let what = format!("the history of commit {commit}");
            return Err(GitError::Limit { what, limit: MAX_COMMITS as u64, unit: "commits" });
        }
    }
    Ok(reached)
}
