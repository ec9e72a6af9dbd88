//! Why git could not do what a stage asked for.

use std::io;
use std::path::{Path, PathBuf};

use super::remote::RemoteError;
use super::verify::Submodule;
use super::{CommitId, RefKind};
use crate::cache::CacheError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a repository could not be read. URLs are shown without credentials, and what a server or
/// the git binary said is shown without secrets.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GitError {
    /// The address itself is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Address(#[from] RemoteError),
    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// There is no branch and no tag of this name.
    #[error("failed to find a branch or a tag `{name}` in {url}")]
    #[diagnostic(help("{}", near_names(near)))]
    UnknownRef {
        /// Where.
        url: String,
        /// What was looked for.
        name: String,
        /// A few names like it that exist.
        near: Vec<String>,
    },
    /// What was given cannot be the name of a branch or tag.
    #[error("failed to read `{name}` as the name of a branch or a tag")]
    #[diagnostic(help("git's rules for names: `git help check-ref-format`; a commit goes into `commit`"))]
    BadRefName {
        /// What was given.
        name: String,
    },
    /// The server does not have the commit, or does not give it away.
    #[error("failed to fetch commit {commit} from {url}: the server does not offer it")]
    #[diagnostic(help(
        "it may have been removed by a forced push, or the server may refuse commits that no branch \
         reaches; `carafe lock` pins what the branch has now"
    ))]
    UnknownCommit {
        /// Where.
        url: String,
        /// What was asked for.
        commit: CommitId,
    },
    /// It is not here, and no server may be asked.
    #[error("failed to find commit {commit} of {url} in the cache, and nothing may be fetched")]
    #[diagnostic(help("build without `--offline` once, or from a bundle that has it"))]
    Offline {
        /// Where it would be fetched from.
        url: String,
        /// What was asked for.
        commit: CommitId,
    },
    /// The server wants a credential and got none.
    #[error("failed to open {url}: the server asks for a credential, or there is no such repository")]
    #[diagnostic(help(
        "check the address; for a private repository put a token into it \
         (https://user:${{TOKEN}}@host/…, from the environment), or set up git's credential helper"
    ))]
    CredentialMissing {
        /// Where.
        url: String,
    },
    /// The server refused the credential.
    #[error("failed to open {url}: the server refused the credential")]
    #[diagnostic(help(
        "check that the token (for ssh: the key) is valid, has not expired, and may read this repository"
    ))]
    CredentialRefused {
        /// Where.
        url: String,
    },
    /// The server sent us to another one, which wants a credential.
    #[error("failed to open {url}: it redirects to {to}, which asks for a credential")]
    #[diagnostic(help("credentials are not passed on to another host; use the new address"))]
    Redirected {
        /// Where.
        url: String,
        /// Where to.
        to: String,
    },
    /// There is no answer.
    #[error("failed to reach {url}: {reason}")]
    #[diagnostic(help(
        "check the address and the network; HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE are honoured"
    ))]
    Unreachable {
        /// Where.
        url: String,
        /// What git or the network said.
        reason: String,
    },
    /// Something answers, but no git repository.
    #[error("failed to find a git repository at {url}: {reason}")]
    #[diagnostic(help("check the address: `git ls-remote <address>` must list branches"))]
    NotARepository {
        /// Where.
        url: String,
        /// What git said.
        reason: String,
    },
    /// An app's tree has a submodule, which would become an empty directory.
    #[error("failed to take commit {commit} whole: `{}` is a submodule{}", submodule.path, of_url(&submodule.url))]
    #[diagnostic(help(
        "submodules are not fetched, nor does bench fetch them; if the app builds without it, say \
         `without-submodules = [{:?}]` beside its `url` in carafe.toml", submodule.path
    ))]
    Submodule {
        /// The app's commit.
        commit: CommitId,
        /// Which.
        submodule: Submodule,
    },
    /// An app's tree has a file that lies in an LFS store.
    #[error("failed to take commit {commit} whole: `{path}` is a Git LFS pointer, not the file")]
    #[diagnostic(help(
        "files in Git LFS are not fetched; move them into git (`git lfs migrate export`), or give \
         the app as a local directory in which `git lfs pull` was run"
    ))]
    Lfs {
        /// The app's commit.
        commit: CommitId,
        /// The first such file.
        path: String,
    },
    /// An object is missing or is not what its name says.
    #[error("failed to read object {id}, part of commit {commit}")]
    #[diagnostic(help("the server sent an incomplete or damaged repository; try `git fsck` there"))]
    Object {
        /// The commit.
        commit: CommitId,
        /// The object.
        id: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A pack that should hold a commit is damaged.
    #[error("failed to read commit {commit} from its pack")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    Pack {
        /// The commit.
        commit: CommitId,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A commit's content breaks a rule of ours.
    #[error("failed to take commit {commit}: {reason}")]
    #[diagnostic(help("remove it from the repository; no app needs such a thing"))]
    BadTree {
        /// The commit.
        commit: CommitId,
        /// What is wrong with which path.
        reason: String,
    },
    /// More than anything sane has.
    #[error("failed to read {what}: more than {limit} {unit}")]
    #[diagnostic(help("this is a guard against hostile input; if yours is real, tell us"))]
    Limit {
        /// Of what.
        what: String,
        /// How much is allowed.
        limit: u64,
        /// Of what kind.
        unit: &'static str,
    },
    /// The git binary is needed and not there.
    #[error("failed to run git, which is needed for {why}")]
    #[diagnostic(help("install git (Debian: `apt-get install git`) and see that it is on PATH"))]
    NoGit {
        /// For what.
        why: String,
        /// Why it did not start.
        #[source]
        source: io::Error,
    },
    /// git failed in another way.
    #[error("failed to {verb} {url}: {reason}")]
    #[diagnostic(help(
        "see that the disk has room; `git ls-remote <address>` on this machine may show more"
    ))]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        url: String,
        /// What git said, without secrets.
        reason: String,
    },
    /// A repository in the store could not be read or written.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("if this stays, remove that directory; it is only a cache"))]
    Store {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A local directory could not be used as an app.
    #[error("failed to use `{path}` as an app: {reason}")]
    #[diagnostic(help("a local app is a directory of plain files, symbolic links and directories"))]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl GitError {
    /// For `map_err` on calls that touch a repository in the store.
    pub(super) fn store<E: Into<Cause>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Store { verb, path, source: source.into() }
    }
}

fn of_url(url: &Option<String>) -> String {
    url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default()
}

fn near_names(near: &[String]) -> String {
    match near {
        [] => "check the name; a commit goes into `commit`".to_owned(),
        names => format!("is it one of these? `{}`", names.join("`, `")),
    }
}

impl std::fmt::Display for RefKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        })
    }
}
