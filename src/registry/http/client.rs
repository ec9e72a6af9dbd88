//! One authorized request. `docs/adr/0006-registry-requests.md` compares each kind of request with
//! oci-client's.

use std::sync::Arc;
use std::time::Duration;

use carafe_builder::net::tls::install_provider;
use reqwest::{RequestBuilder, Response, Url};

use super::authenticator::Authenticator;
use super::response::rejection;
use super::transport::{Transport, Transports};
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::mirrors::Mirrors;
use crate::registry::options::RegistryOptions;

/// Maximum time of a request that sends a chunk, in read timeouts: the server sends nothing while it
/// receives the chunk.
const MAX_READ_TIMEOUTS_PER_CHUNK: u32 = 5;

/// Sends requests to all registries.
pub(crate) struct Client {
    pub(crate) transports: Arc<Transports>,
    pub(crate) auth: Authenticator,
    /// Maximum time to send a chunk and to receive the response.
    pub(crate) chunk_timeout: Duration,
}

impl Client {
    /// Fails on a processor that the TLS library does not support. Connects to nothing.
    pub(crate) fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        install_provider()?;
        let transports = Arc::new(Transports::new(&options)?);
        let chunk_timeout = options.retries.policy.timeouts.read * MAX_READ_TIMEOUTS_PER_CHUNK;
        let auth = Authenticator::new(Arc::clone(&transports), options);
        Ok(Self { transports, auth, chunk_timeout })
    }

    pub(crate) fn mirrors(&self) -> &Mirrors {
        self.transports.mirrors()
    }

    /// The HTTP clients for the registry of `context`.
    pub(crate) fn transport(&self, context: &RequestContext<'_>) -> Result<Transport, RegistryError> {
        self.transports.get(context.host())
    }

    /// Sends a request to the repository. `build` gets the repository's URL, without a slash at its
    /// end. The response may have any status.
    pub(crate) async fn send(
        &self,
        context: &RequestContext<'_>,
        build: impl FnOnce(&reqwest::Client, &str) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let authorization = self.auth.authorize(context).await?;
        let url = format!("{}/v2/{}", self.transports.base(context.host()), context.repository.name());
        let request = authorization.apply(build(&self.transport(context)?.http, &url));
        request.send().await.map_err(|error| context.transport(error))
    }

    /// Sends a request to a URL that the registry has named. The response may have any status.
    pub(crate) async fn send_to(
        &self,
        context: &RequestContext<'_>,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let request = self.authorize_for(context, url, request).await?;
        request.send().await.map_err(|error| context.transport(error))
    }

    /// Adds the authorization if `url` is the registry's own: it may be one of an object store, which
    /// is presigned.
    pub(crate) async fn authorize_for(
        &self,
        context: &RequestContext<'_>,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, RegistryError> {
        Ok(match self.is_own_url(context, url) {
            true => self.auth.authorize(context).await?.apply(request),
            false => request,
        })
    }

    /// Whether the registry itself serves `url`.
    pub(crate) fn is_own_url(&self, context: &RequestContext<'_>, url: &Url) -> bool {
        let base = Url::parse(&self.transports.base(context.host()));
        base.is_ok_and(|base| base.origin() == url.origin())
    }

    /// The error for a response whose status is not a success.
    pub(crate) async fn rejection(&self, context: &RequestContext<'_>, response: Response) -> RegistryError {
        rejection(context, self.auth.principal(context.repository), response).await
    }
}
