//! Objects of a commit, read with a check of their content against their ID.

use gix::objs::Kind;

use super::bare;
use super::error::GitError;
use super::id::{CommitId, TreeId};
use super::limits::MAX_OBJECT_BYTES;

/// Committer times (1970 to 9999) that every archive format can represent, in seconds since 1970.
const VALID_TIMES: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// The parts of a commit object that Carafe uses.
pub(super) struct CommitObject {
    pub tree: TreeId,
    /// The committer's time in seconds since 1970.
    pub time: i64,
    pub has_parents: bool,
}

/// Reads the commit object alone.
pub(super) fn read_commit(repository: &gix::Repository, commit: &CommitId) -> Result<CommitObject, GitError> {
    let data = read_object(repository, commit, bare::object_id(commit.as_str()), Kind::Commit)?;
    let invalid =
        |reason: &str| GitError::InvalidCommit { commit: commit.clone(), reason: reason.to_owned() };
    let parsed = gix::objs::CommitRef::from_bytes(&data, gix::hash::Kind::Sha1)
        .map_err(|_| invalid("the commit object is malformed"))?;
    let tree = parsed.tree().to_string().parse().map_err(|_| invalid("its tree has an invalid ID"))?;
    let time = parsed.committer().map_err(|_| invalid("its committer is malformed"))?.seconds();
    if !VALID_TIMES.contains(&time) {
        return Err(invalid("its time is before 1970 or after 9999"));
    }
    Ok(CommitObject { tree, time, has_parents: !parsed.parents.is_empty() })
}

/// The content of an object: of the expected kind, within the size limit, and checked against its
/// ID. `commit` is for errors.
pub(super) fn read_object(
    repository: &gix::Repository,
    commit: &CommitId,
    id: gix::ObjectId,
    kind: Kind,
) -> Result<Vec<u8>, GitError> {
    let failed = |source| object_error(commit, id, source);
    let header = repository.find_header(id).map_err(|error| object_error(commit, id, error))?;
    if header.size() > MAX_OBJECT_BYTES {
        return Err(GitError::too_large(format!("object {id} of commit {commit}"), MAX_OBJECT_BYTES));
    }
    let found = repository.find_object(id).map_err(|error| object_error(commit, id, error))?;
    if found.kind != kind {
        return Err(failed(format!("expected a {kind}, found a {}", found.kind)));
    }
    let actual = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &found.data)
        .map_err(|error| failed(error.to_string()))?;
    if actual != id {
        return Err(failed(format!("the ID of its content is {actual}")));
    }
    Ok(found.detach().data)
}

/// An object of the commit that cannot be read.
pub(super) fn object_error(
    commit: &CommitId,
    id: gix::ObjectId,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> GitError {
    GitError::Object { commit: commit.clone(), id: id.to_string(), source: source.into() }
}
