//! Repositories over http and https, inside this process.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::credentials::{helper, protocol};
use gix::error::ErrorExt;
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::fetch::{Shallow, Tags};
use gix::remote::{Direction, ref_map};

use super::binary::{GitBinary, split_kind};
use super::meter::ReadBytes;
use super::refs::MOST_REFS;
use super::remote::Transport;
use super::{CommitId, GitBackend, GitError, Remote, ResolvedRef, bare, tls};
use crate::progress::Task;

/// How long the server may be silent, also while it prepares what it sends.
const SILENCE: Duration = Duration::from_secs(120);

/// gix, with reqwest and rustls.
///
/// Proxies come from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. Certificates are
/// checked against the machine's bundle, or `SSL_CERT_FILE` and `SSL_CERT_DIR` in its place, and
/// what `GIT_SSL_CAINFO` names besides.
pub struct InProcess;

impl GitBackend for InProcess {
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError> {
        let folder =
            tempfile::tempdir().map_err(GitError::store("create a folder in", &std::env::temp_dir()))?;
        bare::create(folder.path())?;
        let repository = bare::open(folder.path())?;
        let login = Login::new(remote);
        let specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let listed = (|| {
            let there = at(&repository, remote, &specs)?;
            let connection = connect(&there, &login)?;
            Ok(connection.ref_map(gix::progress::Discard, ref_map::Options::default())?.0.remote_refs)
        })();
        let refs: Vec<Ref> = listed.map_err(|error| login.explain("list the branches of", error))?;
        if refs.len() > MOST_REFS {
            let what = format!("the branches and tags of {remote}");
            return Err(GitError::Limit { what, limit: MOST_REFS as u64, unit: "references" });
        }
        Ok(refs.iter().filter_map(resolved).collect())
    }

    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError> {
        let repository = bare::open(git_dir)?;
        let login = Login::new(remote);
        let fetched = (|| {
            let there = at(&repository, remote, &[commit.as_str()])?;
            let prepared = connect(&there, &login)?
                .prepare_fetch(gix::progress::Discard, ref_map::Options::default())?
                .with_shallow(Shallow::DepthAtRemote(std::num::NonZeroU32::MIN));
            prepared.receive(ReadBytes::new(task.meter()), &AtomicBool::new(false))
        })();
        match fetched {
            Ok(_) => Ok(()),
            Err(error) if refuses_commit(&error) => {
                Err(GitError::UnknownCommit { url: remote.url().to_owned(), commit: commit.clone() })
            }
            Err(error) => Err(login.explain("fetch from", error)),
        }
    }

    /// By the git binary: gix cannot leave trees and files out.
    fn is_ancestor(
        &self,
        remote: &Remote,
        branch: &str,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError> {
        GitBinary.is_ancestor(remote, branch, commit, scratch)
    }
}

type Connection<'a, 'auth, 'repo> = gix::remote::Connection<
    'a,
    'auth,
    'repo,
    Box<dyn gix::protocol::transport::client::blocking_io::Transport + Send>,
>;

fn at<'repo>(
    repository: &'repo gix::Repository,
    remote: &Remote,
    specs: &[&str],
) -> gix::Result<gix::Remote<'repo>> {
    repository
        .remote_at_without_url_rewrite(remote.url())?
        .with_fetch_tags(Tags::None)
        .with_refspecs(specs, Direction::Fetch)
}

fn connect<'a, 'repo>(
    there: &'a gix::Remote<'repo>,
    login: &'a Login,
) -> gix::Result<Connection<'a, 'a, 'repo>> {
    tls::install_tls();
    let connection = there.connect(Direction::Fetch)?;
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(|builder| {
            let builder = builder.timeout(SILENCE);
            Ok(match std::env::var_os("GIT_SSL_CAINFO") {
                Some(path) => builder.tls_certs_merge(authorities(Path::new(&path))?),
                None => builder,
            })
        })),
        configure_request: None,
    };
    let options = http::Options { backend: Some(Arc::new(Mutex::new(backend))), ..Default::default() };
    let connection = connection.with_transport_options(Box::new(options));
    Ok(connection.with_credentials(move |action| Ok(login.answer(action))))
}

fn authorities(bundle: &Path) -> gix::Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(bundle)
        .map_err(|error| gix::error::message!("failed to read `{}`: {error}", bundle.display()).raise())?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(gix::Error::from_error)
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
        let url = self.remote.url().to_owned();
        let cause = error.downcast_any_ref::<reqwest::Error>();
        let status = cause.and_then(reqwest::Error::status).map(|status| status.as_u16());
        let reason = self.reason(&error);
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
            (Some(404 | 410), _) => GitError::NotARepository { url, reason },
            (None, Some(_)) => GitError::Unreachable { url, reason },
            (None, None) if error.is_unsupported() => GitError::NotARepository { url, reason },
            _ => GitError::Failed { verb, url, reason },
        }
    }

    /// The chain of causes in one line, without secrets.
    fn reason(&self, error: &gix::Error) -> String {
        let mut parts: Vec<String> = Vec::new();
        for cause in error.iter_errors() {
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
