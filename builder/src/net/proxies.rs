//! The user's own proxies.

use percent_encoding::percent_decode_str;
use url::Url;

use super::credential::encode_basic;
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
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.urls().iter().filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The passwords in their addresses, as they stand there and as they are sent.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let of = |url: &Url| {
            let password = Secret::new(decoded(url.password()?));
            let sent = encode_basic(&decoded(url.username()), &password);
            Some([Secret::new(url.password()?), password, sent])
        };
        self.urls().iter().filter_map(of).flatten().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_in_every_form_that_it_takes() {
        let proxy = Proxies::One(Secret::new("http://me:hunter%2322@proxy.example:3128"));
        let secrets = proxy.secrets();
        let forms: Vec<_> = secrets.iter().map(Secret::expose).collect();
        assert_eq!(forms, ["hunter%2322", "hunter#22", "bWU6aHVudGVyIzIy"]);
    }
}
