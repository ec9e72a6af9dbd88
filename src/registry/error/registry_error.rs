//! The error of the registry client.

use std::error::Error as StdError;
use std::path::PathBuf;

use carafe_builder::net::retry::RetryAfter;
use carafe_builder::net::tls::UnsupportedProcessor;
use carafe_layers::digest::Digest;
use carafe_layers::source::SourceError;

use super::response::Policy;
use crate::registry::report::PushReport;

/// A failure of the registry client. Every `action` continues "failed to" and names the repository,
/// tag or digest. No message contains credentials or the query of a presigned URL; a server's text in
/// it has a maximum length.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RegistryError {
    /// The processor lacks instructions that the TLS library requires.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Processor(#[from] UnsupportedProcessor),
    /// The HTTP client could not be created: nearly always, the machine has no CA bundle.
    #[error("failed to start the registry client: no usable CA bundle was found")]
    #[diagnostic(help("install the package `ca-certificates`, or set SSL_CERT_FILE to a PEM bundle"))]
    NoCaBundle(#[source] reqwest::Error),
    /// Threads could not be started.
    #[error("failed to start the threads of the registry client")]
    Runtime(#[source] std::io::Error),
    /// A registry that is not a host.
    #[error("failed to use `{registry}` as a registry: it is not `host` or `host:port`")]
    Host {
        /// The invalid name.
        registry: String,
    },
    /// No connection: unknown name, no route, refused, or timed out.
    #[error("failed to {action}: no connection to `{registry}`")]
    #[diagnostic(help(
        "check the name and the port, that the registry runs, and the proxy variables HTTPS_PROXY and NO_PROXY"
    ))]
    Unreachable {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not trusted.
    #[error("failed to {action}: the certificate of `{registry}` is not trusted: {reason}")]
    #[diagnostic(help("{hint}"))]
    Untrusted {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The reason of the verification failure.
        reason: String,
        /// The help text.
        hint: &'static str,
    },
    /// `registries.conf` blocks a repository.
    #[error("failed to use `{repository}`: `{prefix}` is blocked in `{file}`", file = file.display())]
    #[diagnostic(help("use another name, or remove `blocked = true` there"))]
    Blocked {
        /// The repository.
        repository: String,
        /// The blocked prefix.
        prefix: String,
        /// The file that blocks it.
        file: PathBuf,
    },
    /// A `registries.conf` that cannot be read or is invalid.
    #[error("failed to read `{file}`{line}: {reason}", file = file.display(), line = line_suffix(*line))]
    #[diagnostic(help(
        "containers-registries.conf(5) describes the format; CONTAINERS_REGISTRIES_CONF can name another file"
    ))]
    Settings {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1, if it is known.
        line: Option<usize>,
        /// The cause.
        reason: String,
    },
    /// A PEM file of a registry that cannot be used.
    #[error("failed to use `{path}` for `{registry}`: {reason}", path = path.display())]
    #[diagnostic(help("correct or remove this file, or the key in carafe.toml that names it"))]
    Certificates {
        /// The registry's host.
        registry: String,
        /// The file, or the directory.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The server requires a client certificate that it trusts.
    #[error("failed to {action}: `{registry}` requires a client certificate that it trusts: {reason}")]
    #[diagnostic(help(
        "configure one: `client-cert` and `client-key` under `[registry.\"{registry}\"]`, or `client.cert` and `client.key` in `/etc/docker/certs.d/{registry}`"
    ))]
    ClientCertificate {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The server's reason.
        reason: String,
    },
    /// The server responds to TLS with plain HTTP.
    #[error("failed to {action}: `{registry}` uses plain http, not https")]
    #[diagnostic(help(
        "if this is intended, mark it as insecure: `insecure = true` under `[registry.\"{registry}\"]`, or `--insecure-registry {registry}`"
    ))]
    PlainHttp {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
    },
    /// The server responds to plain HTTP with TLS.
    #[error("failed to {action}: `{registry}` uses https, but is marked as insecure")]
    #[diagnostic(help(
        "remove `insecure` for `{registry}`; for a private CA, set its certificate: `ca` under `[registry.\"{registry}\"]`"
    ))]
    NotPlainHttp {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
    },
    /// The connection broke, or a response could not be read.
    #[error("failed to {action}: the connection to `{registry}` was interrupted")]
    #[diagnostic(help(
        "run the same command again; a push does not send again what the registry already has{hint}"
    ))]
    Broken {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// More help text.
        hint: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// 401: the registry requires other credentials.
    #[error("failed to {action}: `{registry}` requires other credentials ({identity}): {message}")]
    #[diagnostic(help(
        "log in with `docker login {registry}` (or podman, skopeo), or set CARAFE_USERNAME and CARAFE_PASSWORD; the account needs `{scope}`"
    ))]
    Unauthorized {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The credentials that were sent, without the password.
        identity: String,
        /// The requested scope, such as `repository:erp:pull,push`.
        scope: String,
        /// The registry's message.
        message: String,
    },
    /// 403: the account lacks a permission.
    #[error("failed to {action}: `{registry}` denied access ({identity}): {message}")]
    #[diagnostic(help(
        "the account needs the permission `{scope}`; on Harbor and ECR the project or repository must exist first"
    ))]
    Forbidden {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The credentials that were sent, without the password.
        identity: String,
        /// The requested scope, such as `repository:erp:pull,push`.
        scope: String,
        /// The registry's message.
        message: String,
    },
    /// 404: the repository, tag or digest does not exist.
    #[error("failed to {action}: not found in `{registry}` ({message})")]
    #[diagnostic(help(
        "check the spelling; some registries respond with 404 if the account may not read the repository"
    ))]
    NotFound {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The registry's message.
        message: String,
    },
    /// 413: the request is too large for the registry, or for a proxy in front of it.
    #[error("failed to {action}: `{registry}` rejected a {} request (413 Payload Too Large)", size_text(*size))]
    #[diagnostic(help(
        "raise the body limit of the proxy in front of the registry above this size: `client_max_body_size` for nginx, the annotation `nginx.ingress.kubernetes.io/proxy-body-size` for its ingress; or ask the registry's administrator for its own limit"
    ))]
    TooLarge {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The size of the request body in bytes.
        size: u64,
    },
    /// A policy of the registry rejects the push: a quota, an immutable tag, an invalid name, a
    /// project that does not exist.
    #[error("failed to {action}: `{registry}` rejected the push: {policy} ({message})")]
    #[diagnostic(help("{hint}"))]
    PolicyViolation {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The policy.
        policy: Policy,
        /// The registry's message.
        message: String,
        /// The help text.
        hint: String,
    },
    /// Any other status that is not a success.
    #[error("failed to {action}: `{registry}` responded with status {status}: {message}")]
    Rejected {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// The registry's error code and message.
        message: String,
        /// The `Retry-After` of the response, if it has one.
        retry_after: Option<RetryAfter>,
    },
    /// The registry violates the distribution specification.
    #[error("failed to {action}: `{registry}` violates the protocol: {reason}")]
    Protocol {
        /// The attempted action.
        action: String,
        /// The registry's host.
        registry: String,
        /// The violation.
        reason: String,
    },
    /// Content that does not have the expected digest.
    #[error("failed to {action}: expected {expected}, got {got}")]
    #[diagnostic(help("the copy is damaged or was modified; fetch it again from its origin"))]
    DigestMismatch {
        /// The attempted action.
        action: String,
        /// The expected digest.
        expected: Digest,
        /// The digest of the content.
        got: Digest,
    },
    /// A blob could not be read from its source during a push.
    #[error("failed to {action}: the blob could not be read")]
    Blob {
        /// The attempted action.
        action: String,
        /// The cause.
        #[source]
        #[diagnostic_source]
        source: SourceError,
    },
    /// A push to several registries failed in some of them.
    #[error("failed to push to {} of {registries} registries", failed.len())]
    #[diagnostic(help(
        "the others are complete, and their tags have moved; run the same command again: it does not send again what is there"
    ))]
    PartialPush {
        /// The results in the other registries.
        done: Vec<PushReport>,
        /// The error of each registry that failed. No tag has moved there.
        #[related]
        failed: Vec<RegistryError>,
        /// The number of target registries.
        registries: usize,
    },
    /// The credentials for a registry could not be read.
    #[error("failed to read the credentials for `{registry}` from {source_name}: {reason}")]
    #[diagnostic(help(
        "correct or remove this entry; for a registry that is pushed to, CARAFE_USERNAME and CARAFE_PASSWORD take precedence"
    ))]
    Credentials {
        /// The registry's host.
        registry: String,
        /// The file.
        source_name: String,
        /// The cause.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same request may succeed a little later. Final are: rejections (401, 403, 404,
    /// 413 and similar), certificates, a full disk (507), features that are not implemented.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Rejected { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500..=599) && !matches!(status, 501 | 505 | 507)
            }
            _ => false,
        }
    }

    /// Whether the registry rejected the request, and would reject it again.
    pub(crate) fn is_rejection(&self) -> bool {
        match self {
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::PolicyViolation { .. } => true,
            Self::Rejected { status, .. } => (400..500).contains(status) && !self.is_temporary(),
            _ => false,
        }
    }

    /// The `Retry-After` of the response, if it has one.
    pub(crate) fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::Rejected { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn line_suffix(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// The size of a request: `12-byte`, `5 MiB`, `12.5 MiB`.
fn size_text(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes}-byte"),
        1024..1_048_576 => format!("{} KiB", tenths(bytes, 1 << 10)),
        1_048_576..1_073_741_824 => format!("{} MiB", tenths(bytes, 1 << 20)),
        _ => format!("{} GiB", tenths(bytes, 1 << 30)),
    }
}

fn tenths(bytes: u64, unit: u64) -> String {
    let text = format!("{:.1}", bytes as f64 / unit as f64);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
