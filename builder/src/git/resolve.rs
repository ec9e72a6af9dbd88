//! Branches and tags of a remote, resolved to commits by the backend for its transport.

use std::path::Path;

use super::backend::GitBackend;
use super::credential_helper;
use super::error::GitError;
use super::git_binary::GitBinary;
use super::gix_http::GixBackend;
use super::id::CommitId;
use super::refs::{RefKind, ResolvedRef, check_ref_name, find_ref};
use super::remote::{Remote, Transport};

/// The backend for a remote: gix in this process for http and https, the git binary for ssh,
/// `file://` and paths.
pub(super) fn backend_for(remote: &Remote) -> Box<dyn GitBackend> {
    match remote.transport() {
        Transport::Http { .. } => Box::new(GixBackend),
        Transport::Ssh | Transport::File(_) => Box::new(GitBinary),
    }
}

/// Resolves a branch or tag. A branch has precedence over a tag of the same name, as in
/// `git clone --branch`.
pub fn resolve(remote: &Remote, name: &str) -> Result<ResolvedRef, GitError> {
    check_ref_name(name)?;
    let refs = with_credential_helper(remote, |remote| backend_for(remote).list(remote))?;
    find_ref(remote, refs, name)
}

/// Whether `commit` is the commit of the ref, or in the history of the branch. A tag contains only
/// its own commit. See [`GitBackend::is_ancestor`] for the cost if the commit is not the tip;
/// `scratch` is an empty directory.
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
    check_ref_name(&reference.name)?;
    with_credential_helper(remote, |remote| {
        backend_for(remote).is_ancestor(remote, reference, commit, scratch)
    })
}

/// Runs the operation. If the server requires a credential and there is none, runs git's credential
/// helper and repeats the operation with its credential.
pub(super) fn with_credential_helper<T>(
    remote: &Remote,
    run: impl Fn(&Remote) -> Result<T, GitError>,
) -> Result<T, GitError> {
    match run(remote) {
        Err(error @ GitError::CredentialMissing { .. }) => match credential_helper::fill(remote) {
            Some(credential) => run(&remote.clone().with_credential(credential)?),
            None => Err(error),
        },
        other => other,
    }
}
