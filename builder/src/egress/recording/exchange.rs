//! One request and its response.

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::net::PublicUrl;

/// The methods that a build may use. All others are blocked: a build reads and changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`. `HEAD` is served from the same response.
    Get,
    /// `POST`, which git and search APIs use to fetch.
    Post,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

/// The part of a request that determines its response: equal requests get the same response.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRequest {
    /// The URL.
    pub url: PublicUrl,
    /// The method.
    pub method: Method,
    /// The headers that may determine the response, names in lower case. The value of
    /// `authorization` is `present`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The digest of the body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
}

/// The response to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedResponse {
    /// The HTTP status: 200 to 499. Server errors are never recorded.
    pub status: u16,
    /// The headers that clients use, names in lower case; neither dates nor identifiers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The digest of the body as clients receive it, with its `content-encoding`.
    pub body: Digest,
    /// The size of the body in bytes.
    pub size: u64,
}

impl RecordedResponse {
    /// The target of this redirect of `url`; `None` if it is not a redirect.
    pub fn redirect_target(&self, url: &PublicUrl) -> Option<PublicUrl> {
        let location = self.headers.get("location").filter(|_| matches!(self.status, 300..=399))?;
        PublicUrl::new(url.as_url().join(location).ok()?).ok()
    }
}

/// A line of a recording.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The request.
    pub request: RecordedRequest,
    /// The response.
    pub response: RecordedResponse,
}
