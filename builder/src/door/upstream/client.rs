//! The clients towards the outside, and which of them an address is asked with.

use reqwest::redirect;
use tokio::sync::Semaphore;

use super::super::error::DoorError;
use super::super::public_url::PublicUrl;
use super::private::{IsPrivate, PublicOnly, is_private_host};
use super::signed::Signed;
use super::{Credential, Mirror, Proxies, Upstream};
use crate::causes::reason;
use crate::tls;

/// Bytes that a server may send ahead in one HTTP/2 stream, and in a whole connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Connections to one host that wait for further requests.
const MOST_IDLE: usize = 32;

/// Speaks to the outside as the user wants it.
pub(in super::super) struct Client {
    /// For all that the user did not name: connects to public addresses alone.
    public: reqwest::Client,
    /// For mirrors and hosts that the user named.
    named: reqwest::Client,
    /// The hosts of the user's proxies.
    proxies: Vec<String>,
    pub(super) signed: Signed,
    /// Held by whoever takes an index's page apart.
    pub(super) pages: Semaphore,
    pub upstream: Upstream,
}

/// Where an address is asked, and how.
pub(super) struct Place<'a> {
    pub client: &'a reqwest::Client,
    pub url: PublicUrl,
    /// Whether it is a mirror's.
    pub is_mirror: bool,
    pub credential: Option<&'a Credential>,
}

impl Client {
    /// Reads certificates and proxies; connects nowhere.
    pub fn new(upstream: Upstream) -> Result<Self, DoorError> {
        tls::install_tls();
        let proxies = upstream.proxies.hosts();
        let named = builder(&upstream)?.build().map_err(failed)?;
        let resolver = PublicOnly { proxies: proxies.clone() };
        let public = builder(&upstream)?.dns_resolver(resolver).build().map_err(failed)?;
        Ok(Self { public, named, proxies, signed: Signed::default(), pages: Semaphore::new(1), upstream })
    }

    /// Where `public` is asked; refused if that is private and the user did not name it.
    pub(super) fn place(&self, public: &PublicUrl) -> Result<Place<'_>, IsPrivate> {
        let located = Mirror::locate(&self.upstream.mirrors, public);
        let is_mirror = located != *public;
        let url = if is_mirror { located } else { self.signed.find(public) };
        let named = format!("{}:{}", url.host(), url.port());
        let credentials = &self.upstream.credentials;
        let credential = credentials.get(&named).or_else(|| credentials.get(url.host()));
        let hosts = &self.upstream.private_hosts;
        if is_mirror || hosts.contains(&named) || hosts.contains(url.host()) {
            return Ok(Place { client: &self.named, url, is_mirror, credential });
        }
        // A proxy may lie in a private network, and its name is resolved as such.
        let is_proxy = self.proxies.iter().any(|proxy| proxy == url.host());
        if is_proxy || url.parsed_host().is_none_or(|host| is_private_host(&host)) {
            return Err(IsPrivate(url.host().to_owned()));
        }
        Ok(Place { client: &self.public, url, is_mirror, credential })
    }
}

fn builder(upstream: &Upstream) -> Result<reqwest::ClientBuilder, DoorError> {
    let mut authorities = tls::extra_authorities().map_err(failed)?;
    for bundle in &upstream.authorities {
        authorities.extend(tls::authorities(bundle).map_err(failed)?);
    }
    let builder = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .referer(false)
        .tls_certs_merge(authorities)
        .connect_timeout(upstream.patience.connect)
        .read_timeout(upstream.patience.silence)
        .pool_max_idle_per_host(MOST_IDLE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW);
    Ok(match &upstream.proxies {
        Proxies::OfEnvironment => builder,
        Proxies::None => builder.no_proxy(),
        Proxies::One(proxy) => builder.proxy(reqwest::Proxy::all(proxy.expose()).map_err(failed)?),
    })
}

fn failed(error: impl std::error::Error) -> DoorError {
    DoorError::Client { reason: reason(&error) }
}
