//! The user's HTTP proxies.

use percent_encoding::percent_decode_str;
use url::Url;

use super::credential::encode_basic;
use crate::secret::Secret;

/// The environment variables with the proxies' URLs.
const VARIABLES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The HTTP proxies between this machine and the Internet.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum Proxies {
    /// Those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    #[default]
    FromEnvironment,
    /// No proxy, regardless of the environment.
    None,
    /// This proxy for everything. Its URL may contain a credential.
    Fixed(Secret),
}

impl Proxies {
    /// The hosts of the proxies.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.urls().iter().filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The passwords in their URLs: as written, decoded, and as they are sent.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let secrets = |url: &Url| {
            let password = Secret::new(decoded(url.password()?));
            let sent = encode_basic(&decoded(url.username()), &password);
            Some([Secret::new(url.password()?), password, sent])
        };
        self.urls().iter().filter_map(secrets).flatten().collect()
    }

    fn urls(&self) -> Vec<Url> {
        match self {
            Self::None => Vec::new(),
            Self::Fixed(proxy) => parse(proxy.expose()).into_iter().collect(),
            Self::FromEnvironment => {
                let values = VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
                values.filter_map(|proxy| parse(&proxy)).collect()
            }
        }
    }
}

/// Parses a proxy's URL, whose scheme may be missing.
fn parse(proxy: &str) -> Option<Url> {
    let url = Url::parse(proxy).ok().filter(Url::has_host);
    url.or_else(|| Url::parse(&format!("http://{proxy}")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_every_form_of_a_password() {
        let proxy = Proxies::Fixed(Secret::new("http://me:hunter%2322@proxy.example:3128"));
        let secrets = proxy.secrets();
        let forms: Vec<_> = secrets.iter().map(Secret::expose).collect();
        assert_eq!(forms, ["hunter%2322", "hunter#22", "bWU6aHVudGVyIzIy"]);
    }
}
