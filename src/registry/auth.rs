//! Tokens: from a registry's challenge and our credentials to an `Authorization` header.
//!
//! Ours and not oci-client's, for what its own dance lacks: a refused token request is an error
//! with the server's word (it swallows it, and a 401 follows), one token may cover a second
//! repository to mount from, identity tokens are exchanged, and an open registry is asked for its
//! challenge once and not before every request. oci-client gets the tokens through its cache.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_builder::secret::Secret;
use http_auth::parser::ChallengeParser;
use reqwest::{RequestBuilder, StatusCode, Url, header};
use serde::Deserialize;

use super::RegistryOptions;
use super::client::{Hosts, read_text};
use super::credentials::{self, Credential, Identity};
use super::error::RegistryError;
use super::failure::Attempt;

/// What the specification says of a token that does not say how long it lasts.
const DEFAULT_TOKEN_SECONDS: u64 = 60;
/// No token is kept for longer, whatever it says.
const MAX_TOKEN_SECONDS: u64 = 3600;
/// Harbor's tokens have a few kilobytes.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// The rights that a request needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Access {
    /// To read.
    Pull,
    /// To read and write, and to mount from these repositories of the same registry.
    Push {
        /// Their names.
        mount_from: BTreeSet<String>,
    },
}

impl Access {
    pub(super) fn push(mount_from: impl IntoIterator<Item = String>) -> Self {
        Self::Push { mount_from: mount_from.into_iter().collect() }
    }

    /// In the form of the token specification.
    pub(super) fn scopes(&self, repository: &str) -> Vec<String> {
        match self {
            Self::Pull => vec![format!("repository:{repository}:pull")],
            Self::Push { mount_from } => std::iter::once(format!("repository:{repository}:pull,push"))
                .chain(mount_from.iter().map(|other| format!("repository:{other}:pull")))
                .collect(),
        }
    }
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Authorization {
    /// Nothing.
    None,
    /// A name and a password.
    Basic(String, Secret),
    /// A token.
    Bearer(Secret),
}

impl Authorization {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic(user, password) => request.basic_auth(user, Some(password.expose())),
            Self::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }
}

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq)]
enum Challenge {
    Open,
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// One exchange's result, and until when it may be used.
#[derive(Clone)]
struct Grant {
    authorization: Authorization,
    until: Option<Instant>,
}

impl Grant {
    fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// Holds what was found out about each registry.
pub(super) struct Authenticator {
    http: reqwest::Client,
    hosts: Hosts,
    options: RegistryOptions,
    challenges: tokio::sync::Mutex<BTreeMap<String, Challenge>>,
    /// Held while a token is fetched, so that many uploads ask for it once.
    grants: tokio::sync::Mutex<BTreeMap<(String, Vec<String>), Grant>>,
    identities: Mutex<BTreeMap<String, Option<Identity>>>,
}

impl Authenticator {
    pub(super) fn new(http: reqwest::Client, hosts: Hosts, options: RegistryOptions) -> Self {
        Self {
            http,
            hosts,
            options,
            challenges: Default::default(),
            grants: Default::default(),
            identities: Default::default(),
        }
    }

    /// The authorization for `attempt`, from an earlier exchange where that one still holds.
    pub(super) async fn authorize(&self, attempt: &Attempt<'_>) -> Result<Authorization, RegistryError> {
        let scopes = attempt.access.scopes(attempt.repository.name());
        let mut grants = self.grants.lock().await;
        let key = (attempt.repository.registry().to_owned(), scopes);
        if let Some(grant) = grants.get(&key).filter(|grant| grant.is_fresh()) {
            return Ok(grant.authorization.clone());
        }
        let grant = self.negotiate(attempt, &key.1).await?;
        let authorization = grant.authorization.clone();
        grants.insert(key, grant);
        Ok(authorization)
    }

    /// Whom `registry` sees, in words. Never a secret.
    pub(super) fn describe(&self, registry: &str) -> String {
        Identity::describe(self.identity(registry).ok().flatten().as_ref())
    }

    /// The credential for `registry`; looked up once.
    pub(super) fn identity(&self, registry: &str) -> Result<Option<Identity>, RegistryError> {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = identities.get(registry) {
            return Ok(known.clone());
        }
        let found = match self.options.credentials.get(registry) {
            Some(credential) => Some(credentials::from_environment(credential)),
            None => self.options.files.find(registry)?,
        };
        identities.insert(registry.to_owned(), found.clone());
        Ok(found)
    }

    async fn negotiate(&self, attempt: &Attempt<'_>, scopes: &[String]) -> Result<Grant, RegistryError> {
        let challenge = self.challenge(attempt).await?;
        let lasting = |authorization| Ok(Grant { authorization, until: None });
        if challenge == Challenge::Open {
            return lasting(Authorization::None);
        }
        let identity = self.identity(attempt.repository.registry())?;
        let credential = identity.as_ref().map(|identity| &identity.credential);
        let Challenge::Bearer { realm, service } = challenge else {
            return lasting(match credential {
                Some(Credential::Password { user, password }) => {
                    Authorization::Basic(user.clone(), password.clone())
                }
                _ => Authorization::None,
            });
        };
        let realm = self.token_server(attempt, &realm)?;
        let ask = TokenRequest { realm, service, credential };
        match self.token(attempt, &ask, scopes).await {
            // Some servers refuse the whole request when one repository is not ours to read.
            Err(RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }) if scopes.len() > 1 => {
                self.token(attempt, &ask, &scopes[..1]).await
            }
            result => result,
        }
    }

    /// Credentials that a registry gets over TLS are not shown to a token server in the clear.
    fn token_server(&self, attempt: &Attempt<'_>, realm: &str) -> Result<Url, RegistryError> {
        let url = Url::parse(realm).map_err(|_| attempt.protocol("its token server is no URL"))?;
        let plain_is_fine = self.hosts.is_insecure(attempt.repository.registry());
        match url.scheme() {
            "https" => Ok(url),
            "http" if plain_is_fine => Ok(url),
            _ => Err(attempt.protocol("its token server is not reached over https")),
        }
    }

    /// Asks once for each registry.
    async fn challenge(&self, attempt: &Attempt<'_>) -> Result<Challenge, RegistryError> {
        let registry = attempt.repository.registry();
        let mut challenges = self.challenges.lock().await;
        if let Some(known) = challenges.get(registry) {
            return Ok(known.clone());
        }
        let url = format!("{}/v2/", self.hosts.base(registry));
        let response = self.http.get(url).send().await.map_err(|error| attempt.transport(error))?;
        let challenge = match response.status() {
            StatusCode::UNAUTHORIZED => parse_challenges(response.headers()),
            // A registry may hide its root and still serve the repository.
            StatusCode::NOT_FOUND => Challenge::Open,
            status if status.is_success() => Challenge::Open,
            status => {
                let body = read_text(response).await;
                return Err(attempt.refusal(self.describe(registry), status, &body));
            }
        };
        challenges.insert(registry.to_owned(), challenge.clone());
        Ok(challenge)
    }

    async fn token(
        &self,
        attempt: &Attempt<'_>,
        ask: &TokenRequest<'_>,
        scopes: &[String],
    ) -> Result<Grant, RegistryError> {
        let request = ask.build(&self.http, scopes);
        let response = request.send().await.map_err(|error| attempt.transport(error))?;
        let status = response.status();
        let body = Secret::new(read_text(response).await);
        if !status.is_success() {
            let identity = self.describe(attempt.repository.registry());
            return Err(attempt.refusal(identity, status, body.expose()));
        }
        parse_token(body.expose()).ok_or_else(|| attempt.protocol("its token server sent no usable token"))
    }
}

/// Where and as whom a token is asked for.
struct TokenRequest<'a> {
    realm: Url,
    service: Option<String>,
    credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    /// A GET with Basic; an identity token is exchanged by POST, as OAuth2 has it.
    fn build(&self, http: &reqwest::Client, scopes: &[String]) -> RequestBuilder {
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

fn parse_token(body: &str) -> Option<Grant> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: Answer = serde_json::from_str(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| is_header_safe(token))?;
    let seconds = answer.expires_in.filter(|&seconds| seconds > 0).unwrap_or(DEFAULT_TOKEN_SECONDS);
    // A fifth earlier: the request that carries it takes time too.
    let lifetime = Duration::from_secs(seconds.min(MAX_TOKEN_SECONDS)) * 4 / 5;
    let authorization = Authorization::Bearer(Secret::new(token));
    Some(Grant { authorization, until: Some(Instant::now() + lifetime) })
}

/// oci-client panics on a token that fits no header.
fn is_header_safe(token: &str) -> bool {
    (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bearer before Basic, wherever they are among the headers.
fn parse_challenges(headers: &header::HeaderMap) -> Challenge {
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
    fn a_mount_needs_a_scope_of_its_own() {
        let access = Access::push(["base/debian".to_owned()]);
        assert_eq!(access.scopes("erp"), ["repository:erp:pull,push", "repository:base/debian:pull"]);
    }

    #[test]
    fn a_token_that_fits_no_header_is_refused() {
        assert!(parse_token(r#"{"token":"abc","expires_in":300}"#).unwrap().is_fresh());
        assert!(parse_token(r#"{"access_token":"abc"}"#).is_some());
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":"ü"}"#] {
            assert!(parse_token(body).is_none(), "{body}");
        }
    }
}
