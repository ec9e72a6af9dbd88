//! The token protocol's three messages: a registry's challenge, the request, the answer.

use std::time::{Duration, Instant};

use carafe_builder::secret::Secret;
use http_auth::parser::ChallengeParser;
use oci_client::token_cache::RegistryToken;
use reqwest::{RequestBuilder, Url, header};
use serde::Deserialize;

use crate::registry::auth::Credential;

/// What the specification says of a token that does not say how long it lasts.
const DEFAULT_TOKEN_SECONDS: u64 = 60;
/// No token is kept for longer, whatever it says.
const MAX_TOKEN_SECONDS: u64 = 3600;
/// Harbor's tokens have a few kilobytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// What a request carries.
#[derive(Clone, Debug)]
pub(in crate::registry) enum Authorization {
    /// Nothing.
    None,
    /// A name and a password.
    Basic(String, Secret),
    /// A token.
    Bearer(Secret),
}

impl Authorization {
    /// A credential as it is shown; an identity token only ever to a token server.
    pub(in crate::registry) fn of(credential: &Credential) -> Self {
        match credential {
            Credential::Password { user, password } => Self::Basic(user.clone(), password.clone()),
            Credential::IdentityToken(token) => Self::Bearer(token.clone()),
        }
    }

    pub(in crate::registry) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic(user, password) => request.basic_auth(user, Some(password.expose())),
            Self::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }
}

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::registry) enum Challenge {
    Open,
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// One exchange's result, and until when it may be used.
#[derive(Clone)]
pub(in crate::registry) struct Grant {
    pub(in crate::registry) authorization: Authorization,
    pub(in crate::registry) until: Option<Instant>,
}

impl Grant {
    pub(in crate::registry) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Where and as whom a token is asked for.
pub(in crate::registry) struct TokenRequest<'a> {
    pub(in crate::registry) realm: Url,
    pub(in crate::registry) service: Option<String>,
    pub(in crate::registry) credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    /// A GET with Basic; an identity token is exchanged by POST, as OAuth2 has it.
    pub(in crate::registry) fn build(&self, http: &reqwest::Client, scopes: &[String]) -> RequestBuilder {
        let service = self.service.as_deref().unwrap_or_default();
        let Some(Credential::IdentityToken(token)) = self.credential else {
            let mut url = self.realm.clone();
            url.query_pairs_mut()
                .append_pair("service", service)
                .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
            let request = http.get(url);
            return match self.credential {
                Some(Credential::Password { user, password }) => {
                    request.basic_auth(user, Some(password.expose()))
                }
                _ => request,
            };
        };
        let mut form = self.realm.clone();
        form.query_pairs_mut().clear().extend_pairs([
            ("grant_type", "refresh_token"),
            ("service", service),
            ("client_id", "carafe"),
            ("scope", &scopes.join(" ")),
            ("refresh_token", token.expose()),
        ]);
        http.post(self.realm.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
    }
}

/// A token server's answer; none if it has no token that fits a header.
pub(in crate::registry) fn parse_token(body: &str) -> Option<Grant> {
    #[derive(Deserialize)]
    struct Answer {
        /// Under either of its names, `token` and `access_token`.
        #[serde(flatten)]
        token: RegistryToken,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_str(body).ok()?;
    let token = Some(answer.token.token()).filter(|token| is_header_safe(token))?;
    let seconds = answer.expires_in.filter(|&seconds| seconds > 0).unwrap_or(DEFAULT_TOKEN_SECONDS);
    // A fifth earlier: the request that carries it takes time too.
    let lifetime = Duration::from_secs(seconds.min(MAX_TOKEN_SECONDS)) * 4 / 5;
    let authorization = Authorization::Bearer(Secret::new(token));
    Some(Grant { authorization, until: Some(Instant::now() + lifetime) })
}

/// Whether a request can carry it.
fn is_header_safe(token: &str) -> bool {
    (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bearer before Basic, wherever they are among the headers.
pub(in crate::registry) fn parse_challenges(headers: &header::HeaderMap) -> Challenge {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for challenge in values.flat_map(ChallengeParser::new).flatten() {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("Bearer")
            && let Some(realm) = parameter("realm")
        {
            return Challenge::Bearer { realm, service: parameter("service") };
        }
    }
    Challenge::Basic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Challenge {
        let mut headers = header::HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(value));
        }
        parse_challenges(&headers)
    }

    #[test]
    fn bearer_goes_before_basic() {
        let expected =
            Challenge::Bearer { realm: "https://a/t".to_owned(), service: Some("harbor".to_owned()) };
        let bearer = r#"Bearer realm="https://a/t",service="harbor",scope="x""#;
        assert_eq!(challenge(&[r#"Basic realm="x""#, bearer]), expected);
        assert_eq!(
            challenge(&[r#"Basic realm="x", Bearer service="harbor", realm="https://a/t""#]),
            expected
        );
        assert_eq!(challenge(&[r#"Basic realm="x""#]), Challenge::Basic);
        assert_eq!(challenge(&["Bearer"]), Challenge::Basic);
        assert_eq!(challenge(&[]), Challenge::Basic);
    }

    #[test]
    fn a_token_that_fits_no_header_is_refused() {
        assert!(parse_token(r#"{"token":"abc","expires_in":300}"#).unwrap().is_fresh());
        for body in [
            r#"{"access_token":"abc"}"#,
            r#"{"token":"abc","access_token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
            r#"{"token":null,"access_token":"abc","expires_in":null,"refresh_token":"x"}"#,
        ] {
            let authorization = parse_token(body).map(|grant| grant.authorization);
            assert!(matches!(authorization, Some(Authorization::Bearer(token)) if token.expose() == "abc"));
        }
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":"ü"}"#] {
            assert!(parse_token(body).is_none(), "{body}");
        }
    }
}
