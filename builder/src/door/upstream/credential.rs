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
    pub(super) fn header(&self) -> Secret {
        match self {
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", password.expose());
                Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
            Self::Bearer(token) => Secret::new(format!("Bearer {}", token.expose())),
        }
    }

    /// What no output may contain.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password, .. } => password,
            Self::Bearer(token) => token,
        }
    }
}
