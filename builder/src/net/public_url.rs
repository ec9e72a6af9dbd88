//! Addresses as a record knows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Bytes of the longest address.
const MAX_URL_BYTES: usize = 8 * 1024;

/// An `http` or `https` address as everybody knows it: normalised as the URL standard says,
/// without credentials and without a fragment, and not that of somebody's mirror.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicUrl(Url);

/// What is no such address.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to read `{text}` as an address: {reason}")]
#[diagnostic(help("an address starts with https:// or http:// and a host's name"))]
pub struct BadUrl {
    text: String,
    reason: String,
}

impl PublicUrl {
    /// Takes an address over, without its credentials and its fragment.
    pub fn new(mut url: Url) -> Result<Self, BadUrl> {
        // Both fail for addresses without a host alone, which are refused below.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let bad = |reason: &str| BadUrl { text: shorten(url.as_str()), reason: reason.to_owned() };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("only http and https go through the door"));
        }
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(bad("it is longer than 8 KiB"));
        }
        Ok(Self(url))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Its parts.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host's name or address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The host, parsed.
    pub(crate) fn parsed_host(&self) -> Option<Host<&str>> {
        self.0.host()
    }

    /// The port, that of the scheme if none is written.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// What follows the last slash of the path, without the query.
    pub fn file_name(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for PublicUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url =
            Url::parse(text).map_err(|error| BadUrl { text: shorten(text), reason: error.to_string() })?;
        Self::new(url)
    }
}

/// A person reads no more of it, and what precedes an `@` may be a password.
fn shorten(text: &str) -> String {
    let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    shown.chars().filter(|c| !c.is_control()).take(200).collect()
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
    fn is_normalised_and_has_no_credentials() {
        let url: PublicUrl = "HTTPS://me:hunter22@Example.COM:443/a/../b%20c?d=e#sha256=00".parse().unwrap();
        assert_eq!(url.as_str(), "https://example.com/b%20c?d=e");
        assert_eq!((url.host(), url.port(), url.file_name()), ("example.com", 443, "b%20c"));
    }

    #[test]
    fn what_is_refused_is_shown_without_its_password() {
        for text in ["ftp://me:hunter22@host/x", "https://me:hunter22@", "file:///etc/passwd", "x"] {
            let error = text.parse::<PublicUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter22"), "{error}");
        }
        assert!(format!("https://host/{}", "x".repeat(MAX_URL_BYTES)).parse::<PublicUrl>().is_err());
    }
}
