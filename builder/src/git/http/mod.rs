//! Repositories over http and https, inside this process.

mod bounded;
mod meter;
mod session;

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::path::Path;

use gix::credentials::{helper, protocol};
use gix::protocol::handshake::Ref;

use self::meter::ReadBytes;
use self::session::{Session, Want};
use super::binary::split_kind;
use super::refs::{MAX_LISTING_BYTES, MAX_REFS};
use super::remote::Transport;
use super::verify::MAX_PACK_BYTES;
use super::{CommitId, GitBackend, GitError, Remote, ResolvedRef, bare};
use crate::progress::Task;

/// gix, with reqwest and rustls.
///
/// Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Certificates are
/// checked against the machine's bundle, or `SSL_CERT_FILE` and `SSL_CERT_DIR` in its place, and
/// what `GIT_SSL_CAINFO` names besides.
pub struct InProcess;

impl GitBackend for InProcess {
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError> {
        let login = Login::new(remote);
        let specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let listed = Session::open(&login, MAX_LISTING_BYTES).and_then(|mut session| session.list(&specs));
        let refs = listed.map_err(|error| login.explain("list the branches of", error))?;
        if refs.len() > MAX_REFS {
            let what = format!("the branches and tags of {remote}");
            return Err(GitError::Limit { what, limit: MAX_REFS as u64, unit: "references" });
        }
        Ok(refs.iter().filter_map(resolved).collect())
    }

    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError> {
        let login = Login::new(remote);
        let id = bare::object_id(commit.as_str());
        let want = Want { commits: vec![id], depth: Some(NonZeroU32::MIN), filter: None };
        let fetched = Session::open(&login, MAX_PACK_BYTES)
            .and_then(|mut session| session.fetch(want, git_dir, ReadBytes::new(task.meter())));
        match fetched {
            Err(error) if refuses_commit(&error) => {
                Err(GitError::UnknownCommit { url: remote.url().to_owned(), commit: commit.clone() })
            }
            other => other.map_err(|error| login.explain("fetch from", error)),
        }
    }

    fn history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError> {
        let login = Login::new(remote);
        let ids = commits.iter().map(|commit| bare::object_id(commit.as_str())).collect();
        let want = Want { commits: ids, depth: None, filter: Some("tree:0") };
        Session::open(&login, MAX_PACK_BYTES)
            .and_then(|mut session| session.fetch(want, git_dir, gix::progress::Discard))
            .map_err(|error| login.explain("read the history of", error))
    }

    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError> {
        bare::create(scratch)?;
        self.history(remote, &[&tip.commit], scratch)?;
        let tip = bare::object_id(tip.commit.as_str());
        let wanted = bare::object_id(commit.as_str());
        let failed = || GitError::store("walk the history in", scratch);
        let repository = bare::open(scratch)?;
        for next in repository.rev_walk([tip]).all().map_err(failed())? {
            if next.map_err(failed())?.id == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn resolved(listed: &Ref) -> Option<ResolvedRef> {
    let (full, target, _) = listed.unpack();
    let (kind, name) = split_kind(std::str::from_utf8(full).ok()?)?;
    // For an annotated tag `unpack` gives the tag and then what it names.
    let object = match listed {
        Ref::Peeled { object, .. } => object.as_ref(),
        _ => target?,
    };
    Some(ResolvedRef { kind, name: name.to_owned(), commit: object.to_string().parse().ok()? })
}

/// Answers the server's question for a credential, and only that server's.
struct Login {
    remote: Remote,
    /// Another server that asked, after a redirect.
    stranger: RefCell<Option<String>>,
}

impl Login {
    fn new(remote: &Remote) -> Self {
        Self { remote: remote.clone(), stranger: RefCell::default() }
    }

    fn answer(&self, action: helper::Action) -> Option<protocol::Outcome> {
        let context = action.context()?;
        let asking = url::Url::parse(std::str::from_utf8(context.url.as_deref()?).ok()?).ok()?;
        let asking = asking.origin().ascii_serialization();
        let Transport::Http { origin } = self.remote.transport() else { return None };
        if asking != *origin {
            *self.stranger.borrow_mut() = Some(asking);
            return None;
        }
        let credential = self.remote.credential()?;
        let identity = gix::sec::identity::Account {
            username: credential.username().to_owned(),
            password: credential.password().expose().to_owned(),
            oauth_refresh_token: None,
        };
        Some(protocol::Outcome { identity, next: protocol::Context::default().into() })
    }

    fn explain(&self, verb: &'static str, error: gix::Error) -> GitError {
        let url = self.remote.to_string();
        let cause = error.downcast_any_ref::<reqwest::Error>();
        let status = cause.and_then(reqwest::Error::status).map(|status| status.as_u16());
        // What the network said lies below what gix and reqwest say about themselves.
        let reason = match cause.and_then(std::error::Error::source) {
            Some(cause) => self.reason(std::iter::once(cause)),
            None => self.reason(error.iter_errors()),
        };
        if let Some(to) = self.stranger.take() {
            return GitError::Redirected { url, to };
        }
        if error.is_unauthenticated() || matches!(status, Some(401 | 403)) {
            return match self.remote.credential() {
                Some(_) => GitError::CredentialRefused { url },
                None => GitError::CredentialMissing { url },
            };
        }
        match (status, cause) {
            (Some(status @ (404 | 410)), _) => {
                GitError::NotARepository { url, reason: format!("the server answers {status}") }
            }
            (None, Some(_)) => GitError::Unreachable { url, reason },
            (None, None) if error.is_unsupported() => GitError::NotARepository { url, reason },
            _ => GitError::Failed { verb, url, reason },
        }
    }

    /// The chain of causes in one line, without secrets.
    fn reason<'a>(&self, errors: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> String {
        let mut parts: Vec<String> = Vec::new();
        for cause in errors {
            let mut next = Some(cause);
            while let Some(cause) = next {
                let text = cause.to_string();
                if !parts.contains(&text) {
                    parts.push(text);
                }
                next = cause.source();
            }
        }
        let text = crate::secret::Redactor::new(self.remote.secrets()).redact(&parts.join(": "));
        text.chars().filter(|c| !c.is_control()).take(1000).collect()
    }
}

fn refuses_commit(error: &gix::Error) -> bool {
    error.iter_errors().any(|cause| {
        let text = cause.to_string();
        ["not our ref", "unadvertised object"].iter().any(|words| text.contains(words))
    })
}
