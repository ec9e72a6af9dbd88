//! The clients towards the outside, and which of them an address is asked with.

use reqwest::redirect;
use tokio::sync::Semaphore;

use super::super::error::EgressError;
use super::Upstream;
use super::address_filter::{PrivateAddress, PublicResolver, is_private_host};
use super::presigned_url::PresignedUrls;
use crate::error_chain::error_chain;
use crate::net::tls;
use crate::net::{Credential, Mirror, Proxies, PublicUrl};

/// Bytes that a server may send ahead in one HTTP/2 stream, and in a whole connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Connections to one host that wait for further requests.
const MAX_IDLE_CONNECTIONS: usize = 32;

/// Speaks to the outside as the user wants it.
pub(in super::super) struct Client {
    /// For all that the user did not name: connects to public addresses alone.
    public: reqwest::Client,
    /// For mirrors and hosts that the user named.
    named: reqwest::Client,
    /// The hosts of the user's proxies.
    proxies: Vec<String>,
    pub(super) signed: PresignedUrls,
    /// Held by whoever takes an index's page apart.
    pub(super) pages: Semaphore,
    pub upstream: Upstream,
}

/// Where an address is asked, and how.
pub(super) struct Endpoint<'a> {
    pub client: &'a reqwest::Client,
    pub url: PublicUrl,
    /// Whether it is a mirror's.
    pub is_mirror: bool,
    pub credential: Option<&'a Credential>,
}

impl Client {
    /// Reads certificates and proxies; connects nowhere.
    pub fn new(upstream: Upstream) -> Result<Self, EgressError> {
        tls::install_provider()?;
        let proxies = upstream.proxies.hosts();
        let named = builder(&upstream)?.build().map_err(failed)?;
        let resolver = PublicResolver { proxies: proxies.clone() };
        let public = builder(&upstream)?.dns_resolver(resolver).build().map_err(failed)?;
        Ok(Self {
            public,
            named,
            proxies,
            signed: PresignedUrls::default(),
            pages: Semaphore::new(1),
            upstream,
        })
    }

    /// Where `public` is asked; refused if that is private and the user did not name it.
    pub(super) fn place(&self, public: &PublicUrl) -> Result<Endpoint<'_>, PrivateAddress> {
        let located = Mirror::locate(&self.upstream.mirrors, public);
        let is_mirror = located != *public;
        let url = if is_mirror { located } else { self.signed.find(public) };
        let named = format!("{}:{}", url.host(), url.port());
        let credentials = &self.upstream.credentials;
        let credential = credentials.get(&named).or_else(|| credentials.get(url.host()));
        let hosts = &self.upstream.private_hosts;
        if is_mirror || hosts.contains(&named) || hosts.contains(url.host()) {
            return Ok(Endpoint { client: &self.named, url, is_mirror, credential });
        }
        // A proxy may lie in a private network, and its name is resolved as such.
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
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .tls_certs_merge(authorities)
        .connect_timeout(upstream.retry_policy.timeouts.connect)
        .read_timeout(upstream.retry_policy.timeouts.read)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW);
    Ok(match &upstream.proxies {
        Proxies::OfEnvironment => builder,
        Proxies::None => builder.no_proxy(),
        Proxies::One(proxy) => builder.proxy(reqwest::Proxy::all(proxy.expose()).map_err(failed)?),
    })
}

fn failed(error: impl std::error::Error) -> EgressError {
    EgressError::Client { reason: error_chain(&error) }
}
