//! Obtains the authorization of each request, and keeps it while it is valid. The methods are in
//! [`crate::registry::auth`].
//!
//! Not oci-client's, because that lacks the following: a rejected token request is an error with the
//! server's message, one token covers a second repository to mount from, identity tokens are
//! exchanged, a token is replaced after a 401, and the challenge is requested once per registry.
//! `docs/adr/0006-registry-requests.md` has the details.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use carafe_builder::secret::{Redactor, Secret};
use reqwest::StatusCode;

use super::response::{read_text, rejection};
use super::transport::Transports;
use crate::registry::auth::{
    AuthRequest, Authorization, Challenges, Exchange, Grant, Login, Origin, Step, begin,
};
use crate::registry::error::{Principal, RegistryError, RequestContext};
use crate::registry::options::RegistryOptions;
use crate::registry::reference::Repository;

/// A registry's host and the scopes that an authorization covers.
type GrantKey = (String, Vec<String>);

/// The challenges, credentials and authorizations of all registries.
pub(crate) struct Authenticator {
    transports: Arc<Transports>,
    options: RegistryOptions,
    challenges: tokio::sync::Mutex<BTreeMap<String, Challenges>>,
    /// Locked while a token is requested, so that parallel uploads request it once.
    grants: tokio::sync::Mutex<BTreeMap<GrantKey, Grant>>,
    logins: Mutex<BTreeMap<Repository, Option<Login>>>,
    /// Every secret that was sent to a server.
    sent_secrets: Mutex<Vec<Secret>>,
}

impl Authenticator {
    pub(super) fn new(transports: Arc<Transports>, options: RegistryOptions) -> Self {
        Self {
            transports,
            options,
            challenges: Default::default(),
            grants: Default::default(),
            logins: Default::default(),
            sent_secrets: Default::default(),
        }
    }

    /// The authorization for a request, from an earlier exchange if that is still valid.
    pub(crate) async fn authorize(
        &self,
        context: &RequestContext<'_>,
    ) -> Result<Authorization, RegistryError> {
        let mut grants = self.grants.lock().await;
        let key = grant_key(context);
        if let Some(grant) = grants.get(&key).filter(|grant| grant.is_valid()) {
            return Ok(grant.authorization.clone());
        }
        let grant = self.negotiate(context, &key.1).await?;
        let authorization = grant.authorization.clone();
        self.remember_secrets(authorization.secrets());
        grants.insert(key, grant);
        Ok(authorization)
    }

    /// Drops an authorization that the registry rejected; false if it cannot be replaced by a new one.
    pub(crate) async fn discard(&self, context: &RequestContext<'_>) -> bool {
        let key = grant_key(context);
        let mut grants = self.grants.lock().await;
        let is_issued = |grant: &Grant| grant.authorization.origin == Origin::Issued;
        grants.get(&key).is_some_and(is_issued) && grants.remove(&key).is_some()
    }

    /// The account that is used for `repository`.
    pub(crate) fn principal(&self, repository: &Repository) -> Principal {
        let identity = Login::describe(self.login(repository).ok().flatten().as_ref());
        let sent = self.sent_secrets.lock().unwrap_or_else(PoisonError::into_inner);
        Principal { identity, redactor: Redactor::new(sent.iter().cloned()) }
    }

    fn remember_secrets(&self, secrets: &[Secret]) {
        self.sent_secrets.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(secrets);
    }

    /// The credential for `repository`. It is looked up once.
    pub(crate) fn login(&self, repository: &Repository) -> Result<Option<Login>, RegistryError> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(login) = logins.get(repository) {
            return Ok(login.clone());
        }
        let found = match self.options.credentials.get(repository.registry()) {
            Some(credential) => Some(Login::from_environment(credential)),
            None => self.options.files.find(repository)?,
        };
        if let Some(login) = &found {
            self.remember_secrets(&login.credential.secrets());
        }
        logins.insert(repository.clone(), found.clone());
        Ok(found)
    }

    async fn negotiate(
        &self,
        context: &RequestContext<'_>,
        scopes: &[String],
    ) -> Result<Grant, RegistryError> {
        let challenges = self.challenges(context).await?;
        let login = match challenges {
            // No credential helper is started for a registry that requires no credential.
            Challenges::Open => None,
            Challenges::Required(_) => self.login(context.repository)?,
        };
        let request = AuthRequest {
            challenges: &challenges,
            credential: login.as_ref().map(|login| &login.credential),
            allows_http: self.transports.is_insecure(context.host()),
        };
        let exchange = match begin(&request).map_err(|reason| context.protocol(reason))? {
            Step::Ready(authorization) => return Ok(Grant { authorization, expires: None }),
            Step::Exchange(exchange) => exchange,
        };
        match self.exchange(context, &*exchange, scopes).await {
            // Some servers reject the complete request if the account may not read one repository.
            Err(RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }) if scopes.len() > 1 => {
                self.exchange(context, &*exchange, &scopes[..1]).await
            }
            result => result,
        }
    }

    /// The challenges of the registry. They are requested once.
    async fn challenges(&self, context: &RequestContext<'_>) -> Result<Challenges, RegistryError> {
        let registry = context.host();
        let mut all = self.challenges.lock().await;
        if let Some(challenges) = all.get(registry) {
            return Ok(challenges.clone());
        }
        let url = format!("{}/v2/", self.transports.base(registry));
        let http = self.transports.get(registry)?.http;
        let response = http.get(url).send().await.map_err(|error| context.transport(error))?;
        let challenges = match response.status() {
            StatusCode::UNAUTHORIZED => Challenges::parse(response.headers()),
            // A registry can serve repositories without serving `/v2/`.
            StatusCode::NOT_FOUND => Challenges::Open,
            status if status.is_success() => Challenges::Open,
            _ => return Err(rejection(context, self.principal(context.repository), response).await),
        };
        all.insert(registry.to_owned(), challenges.clone());
        Ok(challenges)
    }

    async fn exchange(
        &self,
        context: &RequestContext<'_>,
        exchange: &dyn Exchange,
        scopes: &[String],
    ) -> Result<Grant, RegistryError> {
        let http = self.transports.get(context.host())?.tokens;
        let request = exchange.request(&http, scopes);
        let response = request.send().await.map_err(|error| context.transport(error))?;
        if !response.status().is_success() {
            return Err(rejection(context, self.principal(context.repository), response).await);
        }
        let body = Secret::new(read_text(response).await);
        exchange.read(body.expose()).ok_or_else(|| context.protocol("its token server sent no valid token"))
    }
}

fn grant_key(context: &RequestContext<'_>) -> GrantKey {
    (context.host().to_owned(), context.access.scopes(context.repository.name()))
}
