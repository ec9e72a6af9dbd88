//! The operations on remote repositories that every backend implements.

use std::path::Path;

use super::error::GitError;
use super::id::CommitId;
use super::refs::ResolvedRef;
use super::remote::Remote;
use crate::progress::Task;

/// Reads remote repositories. Every method may be called from several threads at the same time.
///
/// The credential of a remote is sent to the remote's own host only. It is written neither to a
/// file nor to a command line, and is not part of an error.
pub trait GitBackend: Send + Sync {
    /// All branches and tags, with annotated tags peeled. Other refs are left out.
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError>;

    /// Fetches this commit without its parents into the bare repository `git_dir`. The IDs of all
    /// objects are computed from their content; the caller must check that all objects are present.
    /// `task` advances by bytes.
    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError>;

    /// Fetches these commits with all their ancestors into the bare repository `git_dir`, without
    /// trees and blobs if the server supports object filters.
    fn fetch_history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError>;

    /// Whether `commit` is in the history of the branch `tip`. `scratch` is an empty directory.
    ///
    /// Transfers all commits of the branch, without trees and blobs if the server supports object
    /// filters, as the common servers do (frappe's 46,000 commits are 15 MB).
    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError>;
}
