//! The interface of all authentication methods.

use std::time::Instant;

use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::challenge::Challenges;

/// A method of authentication.
pub(super) trait AuthMethod: Sync {
    /// The first step; `None` if the registry's challenges do not include this method, or the
    /// credential is of another kind. The error describes why the challenge is invalid.
    fn begin(&self, request: &AuthRequest<'_>) -> Option<Result<Step, String>>;
}

/// What a method decides on.
pub(crate) struct AuthRequest<'a> {
    pub(crate) challenges: &'a Challenges,
    pub(crate) credential: Option<&'a Credential>,
    /// The registry is marked as insecure, and so may be the servers that it names.
    pub(crate) allows_http: bool,
}

/// What follows from a challenge.
pub(crate) enum Step {
    /// Requests are authorized by this, until the registry rejects it.
    Ready(Authorization),
    /// This request gets the authorization from a server.
    Exchange(Box<dyn Exchange>),
}

/// A request to the server that issues authorizations.
pub(crate) trait Exchange: Send + Sync {
    /// The request for an authorization that covers all of `scopes`.
    fn request(&self, http: &reqwest::Client, scopes: &[String]) -> RequestBuilder;

    /// The authorization in the body of a successful response; `None` if the body is invalid.
    fn read(&self, body: &str) -> Option<Grant>;
}

/// An authorization, and when it expires.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) authorization: Authorization,
    /// `None`: never.
    pub(crate) expires: Option<Instant>,
}

impl Grant {
    pub(crate) fn is_valid(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// Where an authorization comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// The request is anonymous.
    Anonymous,
    /// The credential itself is sent. It was not tried before.
    Credential,
    /// A server issued it. It can be replaced by a new one.
    Issued,
}

/// What a request is authorized with: the header `Authorization`, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Authorization {
    header: Option<Secret>,
    secrets: Vec<Secret>,
    pub(crate) origin: Origin,
}

impl Authorization {
    pub(crate) fn anonymous() -> Self {
        Self { header: None, secrets: Vec::new(), origin: Origin::Anonymous }
    }

    /// `credential` in the header; anonymous if it must not be sent in a header.
    pub(super) fn with_credential(credential: &Credential) -> Self {
        match credential.authorization() {
            None => Self::anonymous(),
            header => Self { header, secrets: credential.secrets(), origin: Origin::Credential },
        }
    }

    /// A bearer token (RFC 6750) that a server issued.
    pub(super) fn with_token(token: &str) -> Self {
        let header = Secret::new(format!("Bearer {token}"));
        Self::with_header(header, vec![Secret::new(token)], Origin::Issued)
    }

    /// The value of the header in any other scheme. `secrets` are removed from messages.
    pub(super) fn with_header(header: Secret, secrets: Vec<Secret>, origin: Origin) -> Self {
        Self { header: Some(header), secrets, origin }
    }

    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        let Some(header) = &self.header else { return request };
        match HeaderValue::from_str(header.expose()) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(AUTHORIZATION, value)
            }
            // The builder reports the error when the request is sent.
            Err(_) => request.header(AUTHORIZATION, header.expose()),
        }
    }

    /// What messages must not contain: a server can send it back.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}
