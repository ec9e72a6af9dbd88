//! Token authentication: the registry's challenge names a token server, which issues bearer tokens.
//! The specification is "Token Authentication" of the distribution project.

use std::time::{Duration, Instant};

use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;
use oci_client::token_cache::RegistryToken;
use reqwest::{RequestBuilder, Url, header};
use serde::Deserialize;

use super::method::{AuthMethod, AuthRequest, Authorization, Exchange, Grant, Step};

/// The specification's lifetime of a token whose response has no `expires_in`.
const DEFAULT_TOKEN_SECONDS: u64 = 60;
/// Maximum time that a token is used, whatever its `expires_in`.
const MAX_TOKEN_SECONDS: u64 = 3600;
/// Maximum size of a token. Harbor's have a few kilobytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;

pub(super) struct Token;

impl AuthMethod for Token {
    fn begin(&self, request: &AuthRequest<'_>) -> Option<Result<Step, String>> {
        let bearer = request.challenges.of_scheme("Bearer").find(|one| one.parameter("realm").is_some())?;
        let realm = match token_server(bearer.parameter("realm")?, request.allows_http) {
            Ok(realm) => realm,
            Err(reason) => return Some(Err(reason.to_owned())),
        };
        let service = bearer.parameter("service").unwrap_or_default().to_owned();
        let credential = request.credential.cloned();
        Some(Ok(Step::Exchange(Box::new(TokenRequest { realm, service, credential }))))
    }
}

/// A credential that is sent to the registry over TLS is not sent to a token server without.
fn token_server(realm: &str, allows_http: bool) -> Result<Url, &'static str> {
    let url = Url::parse(realm).map_err(|_| "the address of its token server is not a URL")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allows_http => Ok(url),
        _ => Err("the address of its token server is not https"),
    }
}

/// A request for a token.
struct TokenRequest {
    realm: Url,
    service: String,
    credential: Option<Credential>,
}

impl Exchange for TokenRequest {
    /// GET with basic authentication, or anonymous; an identity token is exchanged by POST (OAuth 2.0
    /// refresh token).
    fn request(&self, http: &reqwest::Client, scopes: &[String]) -> RequestBuilder {
        if let Some(Credential::IdentityToken(token)) = &self.credential {
            return self.refresh(http, scopes, token);
        }
        let mut url = self.realm.clone();
        url.query_pairs_mut()
            .append_pair("service", &self.service)
            .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        let credential = self.credential.as_ref().map(Authorization::with_credential);
        credential.unwrap_or_else(Authorization::anonymous).apply(http.get(url))
    }

    fn read(&self, body: &str) -> Option<Grant> {
        parse_token(body)
    }
}

impl TokenRequest {
    fn refresh(&self, http: &reqwest::Client, scopes: &[String], token: &Secret) -> RequestBuilder {
        let mut form = self.realm.clone();
        form.query_pairs_mut().clear().extend_pairs([
            ("grant_type", "refresh_token"),
            ("service", &self.service),
            ("client_id", "carafe"),
            ("scope", &scopes.join(" ")),
            ("refresh_token", token.expose()),
        ]);
        http.post(self.realm.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
    }
}

/// The token in a token server's response; `None` if it has no token that is valid in a header.
fn parse_token(body: &str) -> Option<Grant> {
    #[derive(Deserialize)]
    struct TokenResponse {
        /// Under either of its names, `token` and `access_token`.
        #[serde(flatten)]
        token: RegistryToken,
        expires_in: Option<u64>,
    }
    let response: TokenResponse = serde_json::from_str(body).ok()?;
    let token = Some(response.token.token()).filter(|token| is_header_safe(token))?;
    let seconds = response.expires_in.filter(|&seconds| seconds > 0).unwrap_or(DEFAULT_TOKEN_SECONDS);
    // A fifth earlier, because the request that contains it takes time too.
    let lifetime = Duration::from_secs(seconds.min(MAX_TOKEN_SECONDS)) * 4 / 5;
    let authorization = Authorization::with_token(token);
    Some(Grant { authorization, expires: Some(Instant::now() + lifetime) })
}

/// Whether a header can contain it.
fn is_header_safe(token: &str) -> bool {
    (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::auth::{Challenges, begin};

    /// The URL of the token request that follows from these challenges; `None` for another method.
    fn token_url(values: &[&'static str], allows_http: bool) -> Result<Option<String>, String> {
        let mut headers = header::HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(value));
        }
        let challenges = Challenges::parse(&headers);
        let credential = Credential::Basic { user: "me".into(), password: Secret::new("x") };
        let request = AuthRequest { challenges: &challenges, credential: Some(&credential), allows_http };
        Ok(match begin(&request)? {
            Step::Ready(_) => None,
            Step::Exchange(exchange) => {
                let _ = carafe_builder::net::tls::install_provider();
                let request = exchange.request(&reqwest::Client::new(), &["s".to_owned()]).build();
                Some(request.unwrap().url().to_string())
            }
        })
    }

    #[test]
    fn prefers_bearer_to_basic() {
        let expected = Some("https://a/t?service=harbor&scope=s".to_owned());
        let bearer = r#"Bearer realm="https://a/t",service="harbor",scope="x""#;
        assert_eq!(token_url(&[r#"Basic realm="x""#, bearer], false).unwrap(), expected);
        let both = r#"Basic realm="x", Bearer service="harbor", realm="https://a/t""#;
        assert_eq!(token_url(&[both], false).unwrap(), expected);
        for values in [&[r#"Basic realm="x""#][..], &["Bearer"], &[]] {
            assert_eq!(token_url(values, false).unwrap(), None);
        }
    }

    #[test]
    fn a_token_server_without_https_is_only_used_by_an_insecure_registry() {
        let plain = r#"Bearer realm="http://a/t""#;
        assert!(token_url(&[plain], false).unwrap_err().contains("not https"));
        assert!(token_url(&[plain], true).unwrap().is_some());
        assert!(token_url(&[r#"Bearer realm="a/t""#], true).unwrap_err().contains("not a URL"));
    }

    #[test]
    fn rejects_a_token_that_no_header_can_contain() {
        assert!(parse_token(r#"{"token":"abc","expires_in":300}"#).unwrap().is_valid());
        for body in [
            r#"{"access_token":"abc"}"#,
            r#"{"token":"abc","access_token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
            r#"{"token":null,"access_token":"abc","expires_in":null,"refresh_token":"x"}"#,
        ] {
            assert_eq!(parse_token(body).unwrap().authorization.secrets()[0].expose(), "abc");
        }
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":"ü"}"#] {
            assert!(parse_token(body).is_none(), "{body}");
        }
    }
}
