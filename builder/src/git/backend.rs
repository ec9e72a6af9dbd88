//! What a stage asks of a repository elsewhere, whoever does it.

use std::path::Path;

use super::binary::GitBinary;
use super::http::InProcess;
use super::remote::Transport;
use super::{CommitId, GitError, RefKind, Remote, ResolvedRef, credential_helper, refs};
use crate::progress::Task;

/// Reads repositories elsewhere. Each method may be called from several threads at once.
///
/// Secrets of the remote go to its own host and nowhere else: not into a file, not onto a command
/// line, not into an error.
pub trait GitBackend: Send + Sync {
    /// All branches and tags, annotated tags peeled; other references are left out.
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError>;

    /// Brings exactly this commit, without its parents, into the bare repository `git_dir`, with
    /// objects whose names were checked against their content. Whether all are there is for the
    /// caller to check. `task` moves by bytes.
    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError>;

    /// Brings these commits with all that went before them into the bare repository `git_dir`,
    /// without trees and files where the server can leave them out.
    fn history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError>;

    /// Whether the branch `tip` has `commit` in its history. `scratch` is an empty directory.
    ///
    /// Cost: all commits of the branch, without trees and files where the server can leave them
    /// out (every server of note can; frappe's 46,000 commits are 15 MB).
    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError>;
}

/// gix inside this process for http and https, the git binary for ssh, `file://` and paths.
pub fn backend_for(remote: &Remote) -> Box<dyn GitBackend> {
    match remote.transport() {
        Transport::Http { .. } => Box::new(InProcess),
        Transport::Ssh | Transport::File(_) => Box::new(GitBinary),
    }
}

/// Looks a branch or tag up, as `git ls-remote` does: a branch goes before a tag of its name.
pub fn resolve(remote: &Remote, name: &str) -> Result<ResolvedRef, GitError> {
    refs::check_name(name)?;
    let all = with_helper(remote, |remote| backend_for(remote).list(remote))?;
    refs::pick(remote, all, name)
}

/// Whether `commit` belongs to the branch or tag: it is its tip, or in the history of a branch.
/// A tag holds the one commit that it names. See [`GitBackend::is_ancestor`] for the cost where
/// the commit is not the tip; `scratch` is an empty directory.
pub fn contains(
    remote: &Remote,
    reference: &ResolvedRef,
    commit: &CommitId,
    scratch: &Path,
) -> Result<bool, GitError> {
    if reference.commit == *commit {
        return Ok(true);
    }
    if reference.kind == RefKind::Tag {
        return Ok(false);
    }
    refs::check_name(&reference.name)?;
    with_helper(remote, |remote| backend_for(remote).is_ancestor(remote, reference, commit, scratch))
}

/// RetryState without a credential if none was given, and asks git's credential helper only when the
/// server wants one.
pub(super) fn with_helper<T>(
    remote: &Remote,
    run: impl Fn(&Remote) -> Result<T, GitError>,
) -> Result<T, GitError> {
    match run(remote) {
        Err(error @ GitError::CredentialMissing { .. }) => match credential_helper::ask(remote) {
            Some(credential) => run(&remote.clone().with_credential(credential)),
            None => Err(error),
        },
        other => other,
    }
}
