//! Credentials for package indexes, git hosts and registries.

use std::fmt;

use base64::Engine as _;

use crate::secret::Secret;

/// A credential for one host.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// HTTP basic authentication (RFC 7617): package indexes, git hosts, registries.
    Basic {
        /// The user name. It is a secret where a token replaces it: see
        /// [`has_secret_user`](Self::has_secret_user).
        user: String,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// A bearer token (RFC 6750): npm registries.
    Bearer(Secret),
    /// A registry's refresh token, named `identitytoken` in docker's `config.json`. It is never sent
    /// in a header: the registry's token server exchanges it for a bearer token.
    IdentityToken(Secret),
}

impl Credential {
    /// The password that some git hosts expect beside a token in place of the user name.
    pub const TOKEN_IS_USER: &str = "x-oauth-basic";

    /// The value of the header `Authorization`; `None` for an identity token.
    pub fn authorization(&self) -> Option<Secret> {
        match self {
            Self::Basic { user, password } => {
                Some(Secret::new(format!("Basic {}", encode_basic(user, password).expose())))
            }
            Self::Bearer(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            Self::IdentityToken(_) => None,
        }
    }

    /// Whether the user name is a token, as in `https://token@host/`.
    pub fn has_secret_user(&self) -> bool {
        matches!(self, Self::Basic { password, .. }
            if password.expose().is_empty() || password.expose() == Self::TOKEN_IS_USER)
    }

    /// Whether a part of it contains a line end or a NUL, which neither a header nor git's
    /// credential protocol can carry.
    pub fn has_line_end(&self) -> bool {
        let has_line_end = |text: &str| text.contains(['\n', '\r', '\0']);
        match self {
            Self::Basic { user, password } => has_line_end(user) || has_line_end(password.expose()),
            Self::Bearer(token) | Self::IdentityToken(token) => has_line_end(token.expose()),
        }
    }

    /// What no output may contain: the secret, and the form in which it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Basic { user, password } => {
                let user_token = self.has_secret_user().then(|| Secret::new(user));
                user_token.into_iter().chain([password.clone(), encode_basic(user, password)]).collect()
            }
            Self::Bearer(token) | Self::IdentityToken(token) => vec![token.clone()],
        }
    }
}

/// Shows only the kind: a user name may be a token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(***)",
            Self::Bearer(_) => "Bearer(***)",
            Self::IdentityToken(_) => "IdentityToken(***)",
        })
    }
}

/// A user name and a password in the form of basic authentication, which is as secret as both.
pub(crate) fn encode_basic(user: &str, password: &Secret) -> Secret {
    Secret::new(base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: Secret::new(password) }
    }

    #[test]
    fn a_user_name_that_is_a_token_is_a_secret() {
        let is_secret = |credential: &Credential, text: &str| {
            credential.secrets().iter().any(|secret| secret.expose() == text)
        };
        for password in ["", Credential::TOKEN_IS_USER] {
            assert!(is_secret(&basic("t0ken", password), "t0ken"));
        }
        let credential = basic("me", "hunter22");
        assert!(!is_secret(&credential, "me") && is_secret(&credential, "hunter22"));
        assert!(is_secret(&credential, "bWU6aHVudGVyMjI="));
    }

    #[test]
    fn no_secret_is_printed() {
        for credential in [
            basic("t0ken", ""),
            Credential::Bearer(Secret::new("t0ken")),
            Credential::IdentityToken(Secret::new("t0ken")),
        ] {
            assert!(!format!("{credential:?}").contains("t0ken"));
        }
    }

    #[test]
    fn an_identity_token_is_sent_in_no_header() {
        let sent = |credential: Credential| credential.authorization().map(|value| value.expose().to_owned());
        assert_eq!(sent(basic("me", "hunter22")).as_deref(), Some("Basic bWU6aHVudGVyMjI="));
        assert_eq!(sent(Credential::Bearer(Secret::new("t"))).as_deref(), Some("Bearer t"));
        assert_eq!(sent(Credential::IdentityToken(Secret::new("t"))), None);
    }

    #[test]
    fn finds_line_ends_in_every_part() {
        assert!(basic("a\nb", "").has_line_end() && basic("a", "b\r").has_line_end());
        assert!(Credential::Bearer(Secret::new("\0")).has_line_end() && !basic("a", "b").has_line_end());
    }
}
