//! The HTTP clients, and the choice of endpoint, client and credential for a URL.

use reqwest::redirect;
use tokio::sync::Semaphore;

use super::address_filter::{PrivateAddress, PublicResolver, is_private_host};
use super::presigned_url::PresignedUrls;
use super::settings::Upstream;
use crate::egress::error::EgressError;
use crate::error_chain::error_chain;
use crate::net::tls;
use crate::net::{Credential, Mirror, Proxies, PublicUrl};

/// HTTP/2 flow control windows, in bytes, of a stream and of a connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Maximum number of idle connections to one host.
const MAX_IDLE_CONNECTIONS: usize = 32;

/// Sends requests as the user configured it.
pub(in crate::egress) struct Client {
    /// Connects to public addresses only.
    public: reqwest::Client,
    /// For mirrors and private hosts of the configuration: connects to any address.
    unrestricted: reqwest::Client,
    /// The hosts of the user's proxies.
    proxies: Vec<String>,
    pub(super) presigned: PresignedUrls,
    /// One permit: each Simple API response takes much memory while it is normalized.
    pub(super) normalizations: Semaphore,
    pub upstream: Upstream,
}

/// Where a URL is requested, and how.
pub(super) struct Endpoint<'a> {
    pub client: &'a reqwest::Client,
    pub url: PublicUrl,
    /// Whether `url` is a mirror's.
    pub is_mirror: bool,
    pub credential: Option<&'a Credential>,
}

impl Client {
    /// Reads certificates and proxies; connects to nothing.
    pub fn new(upstream: Upstream) -> Result<Self, EgressError> {
        tls::install_provider()?;
        let proxies = upstream.proxies.hosts();
        let unrestricted = builder(&upstream)?.build().map_err(failed)?;
        let resolver = PublicResolver { proxies: proxies.clone() };
        let public = builder(&upstream)?.dns_resolver(resolver).build().map_err(failed)?;
        Ok(Self {
            public,
            unrestricted,
            proxies,
            presigned: PresignedUrls::default(),
            normalizations: Semaphore::new(1),
            upstream,
        })
    }

    /// The endpoint of the URL `public`. An error if its address is private and not configured.
    pub(super) fn endpoint(&self, public: &PublicUrl) -> Result<Endpoint<'_>, PrivateAddress> {
        let located = Mirror::locate(&self.upstream.mirrors, public);
        let is_mirror = located != *public;
        let url = if is_mirror { located } else { self.presigned.find(public) };
        let host_and_port = format!("{}:{}", url.host(), url.port());
        let credentials = &self.upstream.credentials;
        let credential = credentials.get(&host_and_port).or_else(|| credentials.get(url.host()));
        let hosts = &self.upstream.private_hosts;
        if is_mirror || hosts.contains(&host_and_port) || hosts.contains(url.host()) {
            return Ok(Endpoint { client: &self.unrestricted, url, is_mirror, credential });
        }
        // The resolver permits a proxy's name to have a private address; the build must not use that.
        let is_proxy = self.proxies.iter().any(|proxy| proxy == url.host());
        if is_proxy || url.parsed_host().is_none_or(|host| is_private_host(&host)) {
            return Err(PrivateAddress(url.host().to_owned()));
        }
        Ok(Endpoint { client: &self.public, url, is_mirror, credential })
    }
}

fn builder(upstream: &Upstream) -> Result<reqwest::ClientBuilder, EgressError> {
    let mut authorities = tls::git_ca_bundle().map_err(failed)?;
    for bundle in &upstream.authorities {
        authorities.extend(tls::read_ca_bundle(bundle).map_err(failed)?);
    }
    let timeouts = upstream.retry_policy.timeouts;
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .tls_certs_merge(authorities)
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(match &upstream.proxies {
        Proxies::FromEnvironment => builder,
        Proxies::None => builder.no_proxy(),
        Proxies::Fixed(proxy) => builder.proxy(reqwest::Proxy::all(proxy.expose()).map_err(failed)?),
    })
}

fn failed(error: impl std::error::Error) -> EgressError {
    EgressError::Client { reason: error_chain(&error) }
}
