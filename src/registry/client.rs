//! The transport: plain HTTP clients, and what every request of ours has in common. What is asked
//! is in [`super::blob`], [`super::manifest`], [`super::session`], [`super::whole`] and
//! [`super::pull`]; `docs/adr/0006-requests-of-our-own.md` says why oci-client asks none of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url, redirect};

use super::RegistryOptions;
use super::auth::Authenticator;
use super::error::RegistryError;
use super::failure::{Asker, Attempt};
use super::{retry_after, tls};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A chunk may take so many times as long to be sent as a server may be silent.
const SILENCES_PER_CHUNK: u32 = 5;
/// So often is a token's request redirected at most.
const MAX_REDIRECTS: usize = 5;
/// As much of an error's or a token's body as is read.
const MAX_TEXT_BYTES: usize = 128 << 10;
/// Names us to servers.
const USER_AGENT: &str = concat!("carafe/", env!("CARGO_PKG_VERSION"));
/// The name that Docker Hub's images have, and the host that serves them.
const HUB: (&str, &str) = ("docker.io", "index.docker.io");

/// Which hosts are spoken to over plain HTTP.
#[derive(Clone)]
pub(super) struct Hosts {
    insecure: Arc<BTreeSet<String>>,
}

impl Hosts {
    fn new(insecure: &BTreeSet<String>) -> Result<Self, RegistryError> {
        for registry in insecure {
            let url = Url::parse(&format!("http://{registry}"));
            if !url
                .is_ok_and(|url| url.path() == "/" && url.username().is_empty() && !registry.ends_with('/'))
            {
                return Err(RegistryError::Host { registry: registry.clone() });
            }
        }
        Ok(Self { insecure: Arc::new(insecure.clone()) })
    }

    pub(super) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.contains(registry)
    }

    /// Scheme and host.
    pub(super) fn base(&self, registry: &str) -> String {
        let scheme = if self.is_insecure(registry) { "http" } else { "https" };
        let host = if registry == HUB.0 { HUB.1 } else { registry };
        format!("{scheme}://{host}")
    }
}

pub(super) struct Client {
    pub(super) http: reqwest::Client,
    /// For requests that carry bytes of a blob: the server is silent while we speak, and so these
    /// have a limit of their own.
    pub(super) sending: reqwest::Client,
    /// Within which a chunk must be sent and answered.
    pub(super) sending_limit: Duration,
    pub(super) auth: Authenticator,
    pub(super) hosts: Hosts,
}

impl Client {
    pub(super) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        tls::install()?;
        let hosts = Hosts::new(&options.insecure)?;
        let silence = options.patience.silence();
        let builder = || reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(CONNECT_TIMEOUT);
        let http = builder().read_timeout(silence).build().map_err(RegistryError::NoCaBundle)?;
        let sending_limit = silence * SILENCES_PER_CHUNK;
        let sending = builder().build().map_err(RegistryError::NoCaBundle)?;
        let tokens = builder().read_timeout(silence).redirect(within_one_origin());
        let tokens = tokens.build().map_err(RegistryError::NoCaBundle)?;
        let auth = Authenticator::new(http.clone(), tokens, hosts.clone(), options);
        Ok(Self { http, sending, sending_limit, auth, hosts })
    }

    /// Sends a request; `build` gets the repository's URL, without a slash at its end.
    /// The answer may be any status.
    pub(super) async fn send(
        &self,
        attempt: &Attempt<'_>,
        build: impl FnOnce(&reqwest::Client, &str) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let authorization = self.auth.authorize(attempt).await?;
        let repository = attempt.repository;
        let url = format!("{}/v2/{}", self.hosts.base(repository.registry()), repository.name());
        let request = authorization.apply(build(&self.http, &url));
        request.send().await.map_err(|error| attempt.transport(error))
    }

    /// An answer that is a refusal, as an error.
    pub(super) async fn refused(&self, attempt: &Attempt<'_>, response: Response) -> RegistryError {
        refused(attempt, self.auth.asker(attempt.repository), response).await
    }
}

/// For requests that say who we are in their body, which is sent again to wherever they are
/// redirected: nowhere else.
fn within_one_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let is_same = attempt.previous().last().is_some_and(|asked| asked.origin() == attempt.url().origin());
        match is_same && attempt.previous().len() <= MAX_REDIRECTS {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    })
}

/// An answer that is a refusal, as an error.
pub(super) async fn refused(attempt: &Attempt<'_>, asker: Asker, response: Response) -> RegistryError {
    let status = response.status();
    let after = header(&response, &RETRY_AFTER).and_then(retry_after::parse);
    let mut error = attempt.refusal(asker, status, &read_text(response).await);
    if let RegistryError::Refused { retry_after, .. } = &mut error {
        *retry_after = after;
    }
    error
}

/// A header's value, if it is there and is text.
pub(super) fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The first bytes of a body as text; what cannot be read is left out.
pub(super) async fn read_text(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_TEXT_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        bytes.extend_from_slice(&piece[..piece.len().min(MAX_TEXT_BYTES - bytes.len())]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(insecure: &[&str]) -> Result<Hosts, RegistryError> {
        Hosts::new(&insecure.iter().map(|host| (*host).to_owned()).collect())
    }

    #[test]
    fn plain_http_is_spoken_only_where_named() {
        let hosts = hosts(&["localhost:5000", "[::1]:5000"]).unwrap();
        assert_eq!(hosts.base("localhost:5000"), "http://localhost:5000");
        assert_eq!(hosts.base("[::1]:5000"), "http://[::1]:5000");
        assert_eq!(hosts.base("localhost"), "https://localhost");
        assert_eq!(hosts.base("docker.io"), "https://index.docker.io");
    }

    #[test]
    fn an_insecure_registry_is_a_host() {
        for wrong in ["", "http://a", "a/b", "a b", "u@a", "a/"] {
            assert!(hosts(&[wrong]).is_err(), "{wrong}");
        }
    }
}
