//! Why a git operation failed.

use std::io;
use std::path::{Path, PathBuf};

use super::help;
use super::id::CommitId;
use super::limits;
use super::remote::RemoteError;
use super::submodule::Submodule;
use crate::cache::CacheError;
use crate::net::tls::{PemError, UnsupportedProcessor};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a git operation failed. URLs are shown without credentials, and the words of a server or of
/// the git binary are shown without secrets and control characters.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GitError {
    /// The URL is not that of a repository.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Remote(#[from] RemoteError),
    /// The cache cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] CacheError),
    /// TLS cannot be set up on this machine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Tls(#[from] UnsupportedProcessor),
    /// The file of `GIT_SSL_CAINFO` cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    CaBundle(#[from] PemError),
    /// The repository has neither a branch nor a tag of this name.
    #[error("failed to find branch or tag `{name}` in {url}")]
    #[diagnostic(help("{}", help::for_unknown_ref(similar)))]
    UnknownRef {
        /// The repository.
        url: String,
        /// The requested name.
        name: String,
        /// A few similar names that exist.
        similar: Vec<String>,
    },
    /// The text cannot be the name of a branch or tag.
    #[error("failed to parse `{name}` as the name of a branch or tag")]
    #[diagnostic(help("`git help check-ref-format` lists git's rules; a commit ID belongs in `commit`"))]
    InvalidRefName {
        /// The text.
        name: String,
    },
    /// The server does not have the commit, or does not serve it.
    #[error("failed to fetch commit {commit} from {url}: the server does not offer it")]
    #[diagnostic(help(
        "a forced push may have removed it, or the server may not serve commits that no branch contains; \
         `carafe lock` pins the current commit of the branch"
    ))]
    UnknownCommit {
        /// The repository.
        url: String,
        /// The requested commit.
        commit: CommitId,
    },
    /// The commit is not in the cache, and network access is disabled.
    #[error("failed to find commit {commit} of {url} in the cache: network access is disabled")]
    #[diagnostic(help("run once without `--offline`, or build from a bundle that contains the commit"))]
    Offline {
        /// The repository.
        url: String,
        /// The requested commit.
        commit: CommitId,
    },
    /// The server requires a credential, and there is none.
    #[error("failed to open {url}: the server requires a credential, or the repository does not exist")]
    #[diagnostic(help(
        "check the URL; for a private repository, add a token to the URL (https://user:${{TOKEN}}@host/…, \
         from the environment variable TOKEN), or configure a git credential helper"
    ))]
    CredentialMissing {
        /// The repository.
        url: String,
    },
    /// The server rejected the credential.
    #[error("failed to open {url}: the server rejected the credential")]
    #[diagnostic(help("check that the token is valid, has not expired, and may read this repository"))]
    CredentialRejected {
        /// The repository.
        url: String,
    },
    /// The ssh server accepted none of the user's keys.
    #[error("failed to authenticate with ssh to {url}: {reason}")]
    #[diagnostic(help(
        "ssh offered no key that may read this repository: add the key to ssh-agent or to ~/.ssh/config; \
         ssh runs without prompts here, so a key with a passphrase must be in ssh-agent"
    ))]
    SshKeyRejected {
        /// The repository.
        url: String,
        /// ssh's words.
        reason: String,
    },
    /// The host key of the ssh server is unknown or has changed.
    #[error("failed to verify the ssh host key of {url}: {reason}")]
    #[diagnostic(help("{}", help::for_ssh_host_key(reason)))]
    SshHostKey {
        /// The repository.
        url: String,
        /// ssh's words.
        reason: String,
    },
    /// The ssh client is missing.
    #[error("failed to run ssh for {url}: {reason}")]
    #[diagnostic(help("install an ssh client (Debian: `apt-get install openssh-client`)"))]
    SshNotFound {
        /// The repository.
        url: String,
        /// git's words.
        reason: String,
    },
    /// The server redirects to another one, which requires a credential.
    #[error("failed to open {url}: it redirects to {to}, which requires a credential")]
    #[diagnostic(help("a credential is not sent to another host: use the URL that it redirects to"))]
    Redirected {
        /// The repository.
        url: String,
        /// The origin of the other server.
        to: String,
    },
    /// No connection to the server could be established.
    #[error("failed to connect to {url}: {reason}")]
    #[diagnostic(help("{}", help::for_connection(reason)))]
    Unreachable {
        /// The repository.
        url: String,
        /// The network's or git's words.
        reason: String,
    },
    /// The server responds, but not as a git server: the URL is not a repository.
    #[error("failed to find a git repository at {url}: {reason}")]
    #[diagnostic(help("{}", help::for_missing_repository(*authenticated)))]
    NotARepository {
        /// The URL.
        url: String,
        /// The server's or git's words.
        reason: String,
        /// Whether a credential or an ssh key was used.
        authenticated: bool,
    },
    /// The commit has a submodule, which would become an empty directory.
    #[error("failed to use commit {commit}: `{}` is a submodule{}", submodule.path, in_parentheses(&submodule.url))]
    #[diagnostic(help(
        "neither Carafe nor bench fetches submodules; if the app builds without it, add \
         `without-submodules = [{:?}]` beside the app's `url` in carafe.toml", submodule.path
    ))]
    Submodule {
        /// The commit.
        commit: CommitId,
        /// The submodule.
        submodule: Submodule,
    },
    /// The content of a file is in an LFS store.
    #[error("failed to use commit {commit}: `{path}` is a Git LFS pointer, not the file")]
    #[diagnostic(help(
        "files in Git LFS are not fetched; move them into git (`git lfs migrate export`), or use a local \
         directory in which `git lfs pull` was run as the app"
    ))]
    LfsPointer {
        /// The commit.
        commit: CommitId,
        /// The first such file.
        path: String,
    },
    /// An object is missing, or its content does not match its ID.
    #[error("failed to read object {id} of commit {commit}")]
    #[diagnostic(help(
        "the repository is incomplete or damaged: `git fsck` checks it where it comes from; if it is intact \
         there, delete `git-v1/{commit}` in the cache directory"
    ))]
    Object {
        /// The commit.
        commit: CommitId,
        /// The object.
        id: String,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The pack that should contain a commit is damaged.
    #[error("failed to read commit {commit} from its pack")]
    #[diagnostic(help("the pack is damaged or was modified: copy it again from where it was created"))]
    Pack {
        /// The commit.
        commit: CommitId,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The commit is malformed, or unsafe to check out.
    #[error("failed to use commit {commit}: {reason}")]
    #[diagnostic(help("use a commit without this problem: it is malformed or unsafe to check out"))]
    InvalidCommit {
        /// The commit.
        commit: CommitId,
        /// What is wrong, with the path.
        reason: String,
    },
    /// Something exceeds a limit of Carafe.
    #[error("failed to read {what}: it exceeds the limit of {limit}")]
    #[diagnostic(help(
        "the limit protects against hostile input; report an issue if a legitimate repository exceeds it"
    ))]
    Limit {
        /// What exceeds it.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The git binary does not start.
    #[error("failed to run git, which is required to {purpose}")]
    #[diagnostic(help("{}", help::for_git_start(source)))]
    GitNotStarted {
        /// What git is required for, in the infinitive.
        purpose: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another failure of an operation on a remote repository.
    #[error("failed to {verb} {url}: {reason}{}", reported(server_message))]
    #[diagnostic(help("{}", help::for_failure(url, reason, server_message.as_deref())))]
    Failed {
        /// What was attempted.
        verb: &'static str,
        /// The repository.
        url: String,
        /// The words of git or of the network.
        reason: String,
        /// What the server reported before it ended the operation.
        server_message: Option<String>,
    },
    /// A repository in the cache cannot be read or written.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("{}", help::for_cache(&**source)))]
    Repository {
        /// What was attempted.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// An operation outside of the cache failed.
    #[error("failed to {verb} `{path}`")]
    #[diagnostic(help("{}", help::for_io(source)))]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A local directory cannot be used as an app.
    #[error("failed to use `{path}` as an app: {reason}")]
    #[diagnostic(help("{help}"))]
    LocalApp {
        /// The directory, or a file in it.
        path: PathBuf,
        /// The cause.
        reason: String,
        /// What to do.
        help: &'static str,
    },
}

impl GitError {
    /// For `map_err` on operations on a repository in the cache.
    pub(super) fn repository<E: Into<Cause>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Repository { verb, path, source: source.into() }
    }

    /// For `map_err` on operations outside of the cache.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }

    pub(super) fn local_app(path: &Path, reason: impl Into<String>, help: &'static str) -> Self {
        Self::LocalApp { path: path.to_owned(), reason: reason.into(), help }
    }

    pub(super) fn too_large(what: impl Into<String>, limit: u64) -> Self {
        Self::Limit { what: what.into(), limit: limits::bytes(limit) }
    }

    pub(super) fn too_many(what: impl Into<String>, limit: u64, items: &str) -> Self {
        Self::Limit { what: what.into(), limit: limits::count(limit, items) }
    }
}

fn in_parentheses(url: &Option<String>) -> String {
    url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default()
}

fn reported(server_message: &Option<String>) -> String {
    server_message.as_ref().map(|text| format!("; the server reported: {text}")).unwrap_or_default()
}
