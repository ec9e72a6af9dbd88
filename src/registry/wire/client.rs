//! What every request of ours has in common; [`super::transport`] has the HTTP clients. What is asked
//! is in [`super::blob`], [`super::manifest`], [`super::session`], [`super::whole`] and
//! [`super::pull`]; `docs/adr/0006-requests-of-our-own.md` says why oci-client asks none of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};

use super::RegistryOptions;
use super::auth::Authenticator;
use super::error::RegistryError;
use super::failure::{Asker, Attempt};
use super::retry::RetryAfter;
use super::tls;
use super::transport::{Transport, Transports};

/// A chunk may take so many times as long to be sent as a server may be silent.
const SILENCES_PER_CHUNK: u32 = 5;
/// As much of an error's or a token's body as is read.
const MAX_TEXT_BYTES: usize = 128 << 10;

pub(super) struct Client {
    pub(super) transports: Arc<Transports>,
    /// Within which a chunk must be sent and answered.
    pub(super) sending_limit: Duration,
    pub(super) auth: Authenticator,
}

impl Client {
    pub(super) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        tls::install()?;
        let transports = Arc::new(Transports::new(&options)?);
        let sending_limit = options.patience.silence() * SILENCES_PER_CHUNK;
        let auth = Authenticator::new(Arc::clone(&transports), options);
        Ok(Self { transports, sending_limit, auth })
    }

    /// How the attempt's registry is connected to.
    pub(super) fn transport(&self, attempt: &Attempt<'_>) -> Result<Transport, RegistryError> {
        self.transports.of(attempt.repository.registry())
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
        let url = format!("{}/v2/{}", self.transports.base(repository.registry()), repository.name());
        let request = authorization.apply(build(&self.transport(attempt)?.http, &url));
        request.send().await.map_err(|error| attempt.transport(error))
    }

    /// An answer that is a refusal, as an error.
    pub(super) async fn refused(&self, attempt: &Attempt<'_>, response: Response) -> RegistryError {
        refused(attempt, self.auth.asker(attempt.repository), response).await
    }
}

/// An answer that is a refusal, as an error.
pub(super) async fn refused(attempt: &Attempt<'_>, asker: Asker, response: Response) -> RegistryError {
    let status = response.status();
    let after = header(&response, &RETRY_AFTER).and_then(RetryAfter::parse);
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
