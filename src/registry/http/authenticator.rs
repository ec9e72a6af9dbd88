//! Tokens: from a registry's challenge and our credentials to an `Authorization` header.
//!
//! Carafe's own, because oci-client lacks the following: a rejected token request is an error with
//! the server's message, one token covers a second repository to mount from, identity tokens are
//! exchanged, a token is replaced after a 401, and the challenge is requested once per registry.
//! `docs/adr/0006-registry-requests.md` has the details.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use carafe_builder::secret::{Redactor, Secret};
use reqwest::{StatusCode, Url};

use super::token::{Authorization, Challenge, Grant, TokenRequest, parse_challenges, parse_token};
use crate::registry::auth::{Credential, Identity};
use crate::registry::error::{Principal, RegistryError, RequestContext};
use crate::registry::http::response::{read_text, refused};
use crate::registry::http::transport::Transports;
use crate::registry::options::RegistryOptions;
use crate::registry::reference::Repository;

/// Holds what was found out about each registry.
pub(in crate::registry) struct Authenticator {
    transports: Arc<Transports>,
    options: RegistryOptions,
    challenges: tokio::sync::Mutex<BTreeMap<String, Challenge>>,
    /// Held while a token is fetched, so that many uploads ask for it once.
    grants: tokio::sync::Mutex<BTreeMap<(String, Vec<String>), Grant>>,
    identities: Mutex<BTreeMap<Repository, Option<Identity>>>,
    /// Every secret that some server was shown.
    shown: Mutex<Vec<Secret>>,
}

impl Authenticator {
    pub(in crate::registry) fn new(transports: Arc<Transports>, options: RegistryOptions) -> Self {
        Self {
            transports,
            options,
            challenges: Default::default(),
            grants: Default::default(),
            identities: Default::default(),
            shown: Default::default(),
        }
    }

    /// The authorization for `attempt`, from an earlier exchange where that one still holds.
    pub(in crate::registry) async fn authorize(
        &self,
        attempt: &RequestContext<'_>,
    ) -> Result<Authorization, RegistryError> {
        let scopes = attempt.access.scopes(attempt.repository.name());
        let mut grants = self.grants.lock().await;
        let key = (attempt.repository.registry().to_owned(), scopes);
        if let Some(grant) = grants.get(&key).filter(|grant| grant.is_fresh()) {
            return Ok(grant.authorization.clone());
        }
        let grant = self.negotiate(attempt, &key.1).await?;
        let authorization = grant.authorization.clone();
        self.note(&authorization);
        grants.insert(key, grant);
        Ok(authorization)
    }

    /// Drops the token for `attempt`; false if it was not asked with one.
    pub(in crate::registry) async fn forget(&self, attempt: &RequestContext<'_>) -> bool {
        let scopes = attempt.access.scopes(attempt.repository.name());
        let key = (attempt.repository.registry().to_owned(), scopes);
        let mut grants = self.grants.lock().await;
        let is_token = |grant: &Grant| matches!(grant.authorization, Authorization::Bearer(_));
        grants.get(&key).is_some_and(is_token) && grants.remove(&key).is_some()
    }

    /// Whom the registry of `repository` sees.
    pub(in crate::registry) fn principal(&self, repository: &Repository) -> Principal {
        let identity = Identity::describe(self.identity(repository).ok().flatten().as_ref());
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Principal { identity, redactor: Redactor::new(shown.iter().cloned()) }
    }

    /// Notes what a server is about to be shown, in the forms in which it could send it back.
    fn note(&self, authorization: &Authorization) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match authorization {
            Authorization::None => {}
            Authorization::Bearer(token) => shown.push(token.clone()),
            Authorization::Basic(user, password) => {
                shown.push(password.clone());
                shown.push(Secret::new(STANDARD.encode(format!("{user}:{}", password.expose()))));
            }
        }
    }

    /// The credential for `repository`; looked up once.
    pub(in crate::registry) fn identity(
        &self,
        repository: &Repository,
    ) -> Result<Option<Identity>, RegistryError> {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = identities.get(repository) {
            return Ok(known.clone());
        }
        let found = match self.options.credentials.get(repository.registry()) {
            Some(credential) => Some(Identity::of_environment(credential)),
            None => self.options.files.find(repository)?,
        };
        if let Some(identity) = &found {
            self.note(&Authorization::of(&identity.credential));
        }
        identities.insert(repository.clone(), found.clone());
        Ok(found)
    }

    async fn negotiate(
        &self,
        attempt: &RequestContext<'_>,
        scopes: &[String],
    ) -> Result<Grant, RegistryError> {
        let challenge = self.challenge(attempt).await?;
        let lasting = |authorization| Ok(Grant { authorization, until: None });
        if challenge == Challenge::Open {
            return lasting(Authorization::None);
        }
        let identity = self.identity(attempt.repository)?;
        let credential = identity.as_ref().map(|identity| &identity.credential);
        let Challenge::Bearer { realm, service } = challenge else {
            let password = credential.filter(|known| matches!(known, Credential::Password { .. }));
            return lasting(password.map_or(Authorization::None, Authorization::of));
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
    fn token_server(&self, attempt: &RequestContext<'_>, realm: &str) -> Result<Url, RegistryError> {
        let url = Url::parse(realm).map_err(|_| attempt.protocol("its token server is no URL"))?;
        let plain_is_fine = self.transports.is_insecure(attempt.repository.registry());
        match url.scheme() {
            "https" => Ok(url),
            "http" if plain_is_fine => Ok(url),
            _ => Err(attempt.protocol("its token server is not reached over https")),
        }
    }

    /// Asks once for each registry.
    async fn challenge(&self, attempt: &RequestContext<'_>) -> Result<Challenge, RegistryError> {
        let registry = attempt.repository.registry();
        let mut challenges = self.challenges.lock().await;
        if let Some(known) = challenges.get(registry) {
            return Ok(known.clone());
        }
        let url = format!("{}/v2/", self.transports.base(registry));
        let http = self.transports.of(registry)?.http;
        let response = http.get(url).send().await.map_err(|error| attempt.transport(error))?;
        let challenge = match response.status() {
            StatusCode::UNAUTHORIZED => parse_challenges(response.headers()),
            // A registry may hide its root and still serve the repository.
            StatusCode::NOT_FOUND => Challenge::Open,
            status if status.is_success() => Challenge::Open,
            _ => return Err(refused(attempt, self.principal(attempt.repository), response).await),
        };
        challenges.insert(registry.to_owned(), challenge.clone());
        Ok(challenge)
    }

    async fn token(
        &self,
        attempt: &RequestContext<'_>,
        ask: &TokenRequest<'_>,
        scopes: &[String],
    ) -> Result<Grant, RegistryError> {
        let http = self.transports.of(attempt.repository.registry())?.tokens;
        let request = ask.build(&http, scopes);
        let response = request.send().await.map_err(|error| attempt.transport(error))?;
        if !response.status().is_success() {
            return Err(refused(attempt, self.principal(attempt.repository), response).await);
        }
        let body = Secret::new(read_text(response).await);
        parse_token(body.expose()).ok_or_else(|| attempt.protocol("its token server sent no usable token"))
    }
}
