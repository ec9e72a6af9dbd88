//! Why a registry could not be used, and what to do about it.

use std::error::Error as StdError;
use std::path::PathBuf;

use carafe_builder::net::retry::RetryAfter;
use carafe_layers::digest::Digest;
use carafe_layers::source::SourceError;

use super::error_response::Rule;
use crate::registry::push_report::PushReport;

/// Why a registry could not be used. Every `action` reads after "failed to" and names the
/// repository, tag or digest. Neither credentials nor the queries of signed URLs are in any
/// message, and what a server says is cut to a bounded length.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RegistryError {
    /// The processor lacks what the TLS code is written for.
    #[error("failed to start the registry client: this processor has no {missing}")]
    #[diagnostic(help(
        "run carafe on an x86-64 with AES, PCLMULQDQ, BMI1, ADX and AVX2 (Haswell or Zen, or newer), or an arm64 with the crypto extensions"
    ))]
    Processor {
        /// The features that are missing.
        missing: String,
    },
    /// The HTTP client could not be made: nearly always a machine without a CA bundle.
    #[error("failed to start the registry client: no usable CA bundle was found")]
    #[diagnostic(help("install the package `ca-certificates`, or let SSL_CERT_FILE name a PEM bundle"))]
    NoCaBundle(#[source] reqwest::Error),
    /// Threads could not be started.
    #[error("failed to start the threads of the registry client")]
    Runtime(#[source] std::io::Error),
    /// `insecure` names something that is no host.
    #[error("failed to use `{registry}` as a registry: it is no `host` or `host:port`")]
    Host {
        /// What was given.
        registry: String,
    },
    /// No connection: name, route, refused, or timed out.
    #[error("failed to {action}: no connection to `{registry}`")]
    #[diagnostic(help(
        "check the name and the port, that the registry runs, and the proxy variables HTTPS_PROXY and NO_PROXY"
    ))]
    Unreachable {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server's certificate is not trusted.
    #[error("failed to {action}: the certificate of `{registry}` is not trusted: {reason}")]
    #[diagnostic(help("{hint}"))]
    Untrusted {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// The verifier's word.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// `registries.conf` blocks a repository.
    #[error("failed to use `{repository}`: `{prefix}` is blocked in `{file}`", file = file.display())]
    #[diagnostic(help("use another name, or remove `blocked = true` there"))]
    Blocked {
        /// Which one.
        repository: String,
        /// What is blocked.
        prefix: String,
        /// By which file.
        file: PathBuf,
    },
    /// A `registries.conf` is of no use.
    #[error("failed to read `{file}`{line}: {reason}", file = file.display(), line = in_line(*line))]
    #[diagnostic(help(
        "containers-registries.conf(5) has the format; CONTAINERS_REGISTRIES_CONF names another file"
    ))]
    Settings {
        /// The file.
        file: PathBuf,
        /// Counted from one, where there is one.
        line: Option<usize>,
        /// Why.
        reason: String,
    },
    /// A PEM file that is to be used for a registry cannot be.
    #[error("failed to use `{path}` for `{registry}`: {reason}", path = path.display())]
    #[diagnostic(help("correct or remove that file, or the key in carafe.toml that names it"))]
    Certificates {
        /// The registry's host.
        registry: String,
        /// The file, or its directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server wants to see a client certificate that it trusts.
    #[error("failed to {action}: `{registry}` wants a client certificate that it trusts: {reason}")]
    #[diagnostic(help(
        "name it: `client-cert` and `client-key` under `[registry.\"{registry}\"]`, or `client.cert` and `client.key` in `/etc/docker/certs.d/{registry}`"
    ))]
    ClientCertificate {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// The server's word.
        reason: String,
    },
    /// TLS was spoken to a server that speaks plain HTTP.
    #[error("failed to {action}: `{registry}` answers plain http, not https")]
    #[diagnostic(help(
        "if that is meant, name it as insecure: `insecure = true` under `[registry.\"{registry}\"]`, or `--insecure-registry {registry}`"
    ))]
    PlainHttp {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
    },
    /// Plain HTTP was spoken to a server that speaks TLS.
    #[error("failed to {action}: `{registry}` speaks https, and it is named as insecure")]
    #[diagnostic(help(
        "remove `insecure` of `{registry}`; for a private CA name its certificate: `ca` under `[registry.\"{registry}\"]`"
    ))]
    NotPlainHttp {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
    },
    /// The connection broke, or an answer could not be read.
    #[error("failed to {action}: the exchange with `{registry}` broke off")]
    #[diagnostic(help(
        "run the same command again: what the registry already has is not sent a second time{hint}"
    ))]
    Broken {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// What else may help.
        hint: &'static str,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// 401: the registry does not know who asks.
    #[error("failed to {action}: `{registry}` wants other credentials ({identity}): {message}")]
    #[diagnostic(help(
        "log in with `docker login {registry}` (or podman, skopeo), or set CARAFE_USERNAME and CARAFE_PASSWORD; the account needs `{scope}`"
    ))]
    Unauthorized {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// Which credentials were shown, without the password.
        identity: String,
        /// The scope asked for, as in `repository:erp:pull,push`.
        scope: String,
        /// The registry's word.
        message: String,
    },
    /// 403: the registry knows who asks and says no.
    #[error("failed to {action}: `{registry}` denies it ({identity}): {message}")]
    #[diagnostic(help(
        "the account needs the right `{scope}`; on Harbor and ECR the project or repository must exist first"
    ))]
    Forbidden {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// Which credentials were shown, without the password.
        identity: String,
        /// The scope asked for, as in `repository:erp:pull,push`.
        scope: String,
        /// The registry's word.
        message: String,
    },
    /// 404: no such repository, tag or digest.
    #[error("failed to {action}: `{registry}` has no such thing: {message}")]
    #[diagnostic(help(
        "check the spelling; a registry may also hide from a stranger what a logged-in account can see"
    ))]
    NotFound {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// The registry's word.
        message: String,
    },
    /// 413: too large for the registry, or for a proxy before it.
    #[error("failed to {action}: `{registry}` takes no request of {size} bytes")]
    #[diagnostic(help(
        "raise the body limit of the proxy before the registry above that: `client_max_body_size` for nginx, the annotation `nginx.ingress.kubernetes.io/proxy-body-size` for its ingress; or ask whoever runs the registry for its own limit"
    ))]
    TooLarge {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// The size of what was sent.
        size: u64,
    },
    /// A rule of the registry's stands in the way: a quota, an immutable tag, a name, a project
    /// that does not exist.
    #[error("failed to {action}: `{registry}` says no, {rule}: {message}")]
    #[diagnostic(help("{hint}"))]
    PolicyViolation {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// Which rule.
        rule: Rule,
        /// The registry's word.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Any other refusal.
    #[error("failed to {action}: `{registry}` says no (status {status}): {message}")]
    Refused {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// The HTTP status; 0 where the transport does not tell.
        status: u16,
        /// The registry's error code and message.
        message: String,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<RetryAfter>,
    },
    /// The registry does not keep to the distribution specification.
    #[error("failed to {action}: `{registry}` breaks the protocol: {reason}")]
    Protocol {
        /// What was tried.
        action: String,
        /// The registry's host.
        registry: String,
        /// How.
        reason: String,
    },
    /// What arrived is not what the digest names.
    #[error("failed to {action}: wanted {wanted}, got {got}")]
    #[diagnostic(help("the copy is damaged or was tampered with; fetch it again from where it was made"))]
    DigestMismatch {
        /// What was tried.
        action: String,
        /// The digest asked for.
        wanted: Digest,
        /// The digest of what there is.
        got: Digest,
    },
    /// A blob that is to be pushed could not be read.
    #[error("failed to {action}: its bytes could not be read")]
    Blob {
        /// What was tried.
        action: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: SourceError,
    },
    /// A push to several registries failed in some of them.
    #[error("failed to push to {} of {registries} registries", failed.len())]
    #[diagnostic(help(
        "the others have all of it, and their tags have moved; run the same command again: what is there is not sent again"
    ))]
    PartialPush {
        /// What the others have.
        done: Vec<PushReport>,
        /// Why, for each that failed. No tag has moved there.
        #[related]
        failed: Vec<RegistryError>,
        /// How many were pushed to.
        registries: usize,
    },
    /// The credentials of a registry could not be looked up.
    #[error("failed to find the credentials of `{registry}` in {place}: {reason}")]
    #[diagnostic(help("correct or remove that entry, or set CARAFE_USERNAME and CARAFE_PASSWORD instead"))]
    Credentials {
        /// The registry's host.
        registry: String,
        /// The file, or the helper's name.
        place: String,
        /// Why.
        reason: String,
    },
}

impl RegistryError {
    /// Whether the same request may well succeed a little later. What is final says so at once: a
    /// refusal (401, 403, 404, 413), a certificate, a full disk (507), what is not implemented.
    pub(in crate::registry) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500..=599) && !matches!(status, 501 | 505 | 507)
            }
            _ => false,
        }
    }

    /// Whether the registry answered, and said no for good.
    pub(in crate::registry) fn is_refusal(&self) -> bool {
        match self {
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::PolicyViolation { .. } => true,
            Self::Refused { status, .. } => (400..500).contains(status) && !self.is_passing(),
            _ => false,
        }
    }

    /// When the registry wants to be asked again, if it says so.
    pub(in crate::registry) fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn in_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}
