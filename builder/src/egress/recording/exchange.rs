//! One question and its answer.

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::net::PublicUrl;

/// What a build may ask. Everything else is refused: a build reads, it does not change anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Asks for what is there; `HEAD` is answered from the same answer.
    Get,
    /// Asks with a body, as git and search interfaces do.
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

/// A request as far as it decides its answer: two that are equal get the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where.
    pub url: PublicUrl,
    /// How.
    pub method: Method,
    /// The headers that select what is sent, names in lower case. A credential is there as the
    /// word `present`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The digest of its body, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
}

/// What a request was answered with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The HTTP status: 2xx, a redirect, or 4xx. A server's own failure is never recorded.
    pub status: u16,
    /// The headers that matter to a client, names in lower case; neither dates nor identifiers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The digest of its body as clients get it, `content-encoding` included.
    pub body: Digest,
    /// The body's length in bytes.
    pub size: u64,
}

impl Answer {
    /// Where it redirects to whoever asked `url`; `None` if it is no redirect.
    pub fn redirects_to(&self, url: &PublicUrl) -> Option<PublicUrl> {
        let location = self.headers.get("location").filter(|_| matches!(self.status, 300..=399))?;
        PublicUrl::new(url.as_url().join(location).ok()?).ok()
    }
}

/// A line of a record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What was asked.
    pub request: Request,
    /// What it was answered with.
    pub answer: Answer,
}
