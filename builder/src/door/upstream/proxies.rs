//! The user's own proxies.

use url::Url;

use crate::secret::Secret;

/// The variables that name them.
const VARIABLES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Proxies between this machine and the outside.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Proxies {
    /// Those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    #[default]
    OfEnvironment,
    /// None, whatever the environment says.
    None,
    /// This one for everything; it may carry a credential.
    One(Secret),
}

impl Proxies {
    /// The hosts they are on.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.urls().iter().filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The passwords in their addresses.
    pub(super) fn passwords(&self) -> Vec<Secret> {
        self.urls().iter().filter_map(|url| url.password().map(Secret::new)).collect()
    }

    fn urls(&self) -> Vec<Url> {
        match self {
            Self::None => Vec::new(),
            Self::One(proxy) => parse(proxy.expose()).into_iter().collect(),
            Self::OfEnvironment => {
                let named = VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
                named.filter_map(|proxy| parse(&proxy)).collect()
            }
        }
    }
}

/// A proxy may be named without a scheme.
fn parse(proxy: &str) -> Option<Url> {
    let url = Url::parse(proxy).ok().filter(Url::has_host);
    url.or_else(|| Url::parse(&format!("http://{proxy}")).ok())
}
