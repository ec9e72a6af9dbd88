//! What all requests have in common; [`super::transport`] has the HTTP clients. The requests
//! themselves are in `upload/`, `manifest`, `referrers` and `pull`.
//! `docs/adr/0006-registry-requests.md` compares each of them with oci-client's.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};

use super::response::refused;
use super::transport::{Transport, Transports};
use crate::registry::auth::Authenticator;
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::options::RegistryOptions;
use crate::registry::tls;

/// A chunk may take so many times as long to be sent as a server may be silent.
const SILENCES_PER_CHUNK: u32 = 5;

pub(in crate::registry) struct Client {
    pub(in crate::registry) transports: Arc<Transports>,
    /// Within which a chunk must be sent and answered.
    pub(in crate::registry) sending_limit: Duration,
    pub(in crate::registry) auth: Authenticator,
}

impl Client {
    pub(in crate::registry) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        tls::install()?;
        let transports = Arc::new(Transports::new(&options)?);
        let sending_limit = options.retry_policy.read_timeout() * SILENCES_PER_CHUNK;
        let auth = Authenticator::new(Arc::clone(&transports), options);
        Ok(Self { transports, sending_limit, auth })
    }

    /// How the attempt's registry is connected to.
    pub(in crate::registry) fn transport(
        &self,
        attempt: &RequestContext<'_>,
    ) -> Result<Transport, RegistryError> {
        self.transports.of(attempt.repository.registry())
    }

    /// Sends a request; `build` gets the repository's URL, without a slash at its end.
    /// The answer may be any status.
    pub(in crate::registry) async fn send(
        &self,
        attempt: &RequestContext<'_>,
        build: impl FnOnce(&reqwest::Client, &str) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let authorization = self.auth.authorize(attempt).await?;
        let repository = attempt.repository;
        let url = format!("{}/v2/{}", self.transports.base(repository.registry()), repository.name());
        let request = authorization.apply(build(&self.transport(attempt)?.http, &url));
        request.send().await.map_err(|error| attempt.transport(error))
    }

    /// An answer that is a refusal, as an error.
    pub(in crate::registry) async fn refused(
        &self,
        attempt: &RequestContext<'_>,
        response: Response,
    ) -> RegistryError {
        refused(attempt, self.auth.principal(attempt.repository), response).await
    }
}
