//! The operations of a backend, each in one session.

use std::num::NonZeroU32;
use std::path::Path;

use gix::protocol::handshake::Ref;

use super::connection::Connection;
use super::fetch_progress::FetchProgress;
use super::session::{FetchRequest, Session};
use crate::git::backend::GitBackend;
use crate::git::bare;
use crate::git::error::GitError;
use crate::git::id::CommitId;
use crate::git::limits::{MAX_PACK_BYTES, MAX_REF_LIST_BYTES, MAX_REFS};
use crate::git::refs::{ResolvedRef, split_full_name};
use crate::git::remote::Remote;
use crate::progress::Task;

/// gix with reqwest and rustls.
///
/// Proxies are those in `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Certificates are
/// checked against the machine's CA certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// instead, and those of `GIT_SSL_CAINFO` in addition.
pub struct GixBackend;

impl GitBackend for GixBackend {
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError> {
        let connection = Connection::new(remote);
        let specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let listed =
            Session::open(&connection, MAX_REF_LIST_BYTES).and_then(|mut session| session.list(&specs));
        let refs = listed.map_err(|error| connection.explain("list the branches and tags of", &error))?;
        if refs.len() > MAX_REFS {
            return Err(GitError::too_many(format!("the refs of {remote}"), MAX_REFS as u64, "refs"));
        }
        Ok(refs.iter().filter_map(resolved_ref).collect())
    }

    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError> {
        let connection = Connection::new(remote);
        let id = bare::object_id(commit.as_str());
        let request = FetchRequest { commits: vec![id], depth: Some(NonZeroU32::MIN), filter: None };
        let fetched = Session::open(&connection, MAX_PACK_BYTES)
            .and_then(|mut session| session.fetch(request, git_dir, FetchProgress::new(task.meter())));
        match fetched {
            Err(error) if is_unknown_commit(&error) => {
                Err(GitError::UnknownCommit { url: remote.url().to_owned(), commit: commit.clone() })
            }
            other => other.map_err(|error| connection.explain("fetch from", &error)),
        }
    }

    fn fetch_history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError> {
        let connection = Connection::new(remote);
        let commits = commits.iter().map(|commit| bare::object_id(commit.as_str())).collect();
        let request = FetchRequest { commits, depth: None, filter: Some("tree:0") };
        Session::open(&connection, MAX_PACK_BYTES)
            .and_then(|mut session| session.fetch(request, git_dir, gix::progress::Discard))
            .map_err(|error| connection.explain("read the history of", &error))
    }

    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError> {
        bare::create(scratch)?;
        self.fetch_history(remote, &[&tip.commit], scratch)?;
        let tip = bare::object_id(tip.commit.as_str());
        let wanted = bare::object_id(commit.as_str());
        let failed = || GitError::repository("walk the history in", scratch);
        let repository = bare::open(scratch)?;
        for next in repository.rev_walk([tip]).all().map_err(failed())? {
            if next.map_err(failed())?.id == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn resolved_ref(listed: &Ref) -> Option<ResolvedRef> {
    let (full, target, _) = listed.unpack();
    let (kind, name) = split_full_name(std::str::from_utf8(full).ok()?)?;
    // For an annotated tag, `unpack` returns the tag and then the object that it points to.
    let object = match listed {
        Ref::Peeled { object, .. } => object.as_ref(),
        _ => target?,
    };
    Some(ResolvedRef { kind, name: name.to_owned(), commit: object.to_string().parse().ok()? })
}

/// Whether the server does not offer the requested commit.
fn is_unknown_commit(error: &gix::Error) -> bool {
    const WORDS: [&str; 2] = ["not our ref", "unadvertised object"];
    error.iter_errors().any(|cause| {
        let text = cause.to_string();
        WORDS.iter().any(|word| text.contains(word))
    })
}
