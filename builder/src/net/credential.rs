//! What a private index or registry wants to see.

use base64::Engine as _;

use crate::secret::Secret;

/// Added by the door to requests for one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A user's name and password, as indexes and git hosts want them.
    Basic {
        /// The name.
        user: String,
        /// The password, or a token in its place.
        password: Secret,
    },
    /// A token, as npm registries want it.
    Bearer(Secret),
}

impl Credential {
    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> Secret {
        match self {
            Self::Basic { user, password } => {
                Secret::new(format!("Basic {}", encoded(user, password).expose()))
            }
            Self::Bearer(token) => Secret::new(format!("Bearer {}", token.expose())),
        }
    }

    /// What no output may contain: the secret, and the form in which it is sent.
    pub fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Basic { user, password } => vec![password.clone(), encoded(user, password)],
            Self::Bearer(token) => vec![token.clone()],
        }
    }
}

/// A name and a password as they are sent: whoever has that has both.
pub(crate) fn encoded(user: &str, password: &Secret) -> Secret {
    Secret::new(base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose())))
}
