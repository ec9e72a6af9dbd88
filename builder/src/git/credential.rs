//! What opens a repository.

use std::fmt;

use super::RemoteError;
use crate::secret::Secret;

/// A name and a password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    username: String,
    password: Secret,
}

impl Credential {
    /// What some hosts expect beside a token that stands in the place of the user's name.
    pub(super) const TOKEN_IS_THE_NAME: &str = "x-oauth-basic";
    /// What goes in the place of a name when there is a token alone; every known host takes it.
    const ANY_NAME: &str = "x-access-token";

    /// Of a name and a password. Neither may contain a line end or a NUL.
    pub fn new(username: impl Into<String>, password: Secret) -> Result<Self, RemoteError> {
        let username = username.into();
        let breaks = |text: &str| text.contains(['\n', '\r', '\0']);
        if breaks(&username) || breaks(password.expose()) {
            return Err(RemoteError::new("", "its name or password contains a line end"));
        }
        Ok(Self { username, password })
    }

    /// Of a token alone.
    pub fn token(token: Secret) -> Result<Self, RemoteError> {
        Self::new(Self::ANY_NAME, token)
    }

    /// The name: a secret itself where [`Credential::name_is_secret`].
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    pub(super) fn password(&self) -> &Secret {
        &self.password
    }

    /// Whether the token stands in the place of the name, as in `https://token@host/`.
    fn name_is_secret(&self) -> bool {
        self.password.expose().is_empty() || self.password.expose() == Self::TOKEN_IS_THE_NAME
    }

    /// What no output may contain.
    pub(super) fn secret(&self) -> &str {
        if self.name_is_secret() { &self.username } else { self.password.expose() }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
