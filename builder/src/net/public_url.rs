//! URLs in the form that recordings have.

use std::fmt;
use std::str::FromStr;

use carafe_layers::text::escape;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Maximum length of a URL.
const MAX_URL_BYTES: usize = 8 * 1024;

/// An `http` or `https` URL of a public server, not of a mirror: normalized as the URL standard
/// defines, without credentials and without a fragment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicUrl(Url);

/// A text that is not such a URL.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to parse the URL `{text}`: {reason}")]
#[diagnostic(help("a URL starts with https:// or http:// and the name of a host"))]
pub struct InvalidUrl {
    text: String,
    reason: String,
}

impl PublicUrl {
    /// Drops the credentials and the fragment of a URL.
    pub fn new(mut url: Url) -> Result<Self, InvalidUrl> {
        // Both fail only for URLs without a host, which are rejected below.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let bad = |reason: &str| InvalidUrl { text: shorten(url.as_str()), reason: reason.to_owned() };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("the scheme must be http or https"));
        }
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(bad("it is longer than 8 KiB"));
        }
        Ok(Self(url))
    }

    /// The complete URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The host, parsed.
    pub(crate) fn parsed_host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The port; the default port of the scheme if the URL has none.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// The part of the path after its last slash, without the query.
    pub fn file_name(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text)
            .map_err(|error| InvalidUrl { text: shorten(text), reason: error.to_string() })?;
        Self::new(url)
    }
}

/// A text for a message: shortened, and without the part before an `@`, which may be a password.
fn shorten(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    escape(shown)
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PublicUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_normalized_and_has_no_credentials() {
        let url: PublicUrl = "HTTPS://me:hunter22@Example.COM:443/a/../b%20c?d=e#sha256=00".parse().unwrap();
        assert_eq!(url.as_str(), "https://example.com/b%20c?d=e");
        assert_eq!((url.host(), url.port(), url.file_name()), ("example.com", 443, "b%20c"));
    }

    #[test]
    fn an_error_does_not_show_the_password() {
        for text in ["ftp://me:hunter22@host/x", "https://me:hunter22@", "file:///etc/passwd", "x"] {
            let error = text.parse::<PublicUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter22"), "{error}");
        }
        assert!(format!("https://host/{}", "x".repeat(MAX_URL_BYTES)).parse::<PublicUrl>().is_err());
    }
}
