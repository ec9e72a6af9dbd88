//! What a registry requires of a request: the `WWW-Authenticate` headers of its `/v2/`.

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The challenges of a registry.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Challenges {
    /// The registry accepts requests without authentication.
    Open,
    /// The registry requires one of these. Without a valid header the list is empty, and basic
    /// authentication is tried.
    Required(Vec<Challenge>),
}

/// One challenge, such as `Bearer realm="https://auth.example.com/token",service="r"`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenges {
    /// All challenges of a 401 response.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let parsed = values.flat_map(ChallengeParser::new).flatten();
        let challenge = |challenge: http_auth::ChallengeRef<'_>| Challenge {
            scheme: challenge.scheme.to_owned(),
            parameters: challenge
                .params
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.to_unescaped()))
                .collect(),
        };
        Self::Required(parsed.map(challenge).collect())
    }

    /// The challenges of this scheme.
    pub(super) fn of_scheme(&self, scheme: &str) -> impl Iterator<Item = &Challenge> {
        let all = match self {
            Self::Open => &[][..],
            Self::Required(all) => all,
        };
        all.iter().filter(move |challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
    }

    pub(super) fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

impl Challenge {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}
