//! Who is who: who we are to a registry, which `credentials` finds in files (`auth_file` reads one,
//! `helper` asks the program that one names), and whom a registry has to be (`trust`).

mod auth_file;
mod authorizer;
mod credential_files;
mod credential_helper;
mod token;

use carafe_builder::secret::Secret;

use super::error::scrub;

pub(super) use self::authorizer::Authenticator;
pub use self::credential_files::CredentialFiles;
pub(super) use self::token::Authorization;

/// What is shown to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password, or a robot account's.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, which a token server exchanges.
    IdentityToken(Secret),
}

impl Credential {
    /// From `CARAFE_USERNAME` and `CARAFE_PASSWORD`, if both are set and not empty.
    pub fn from_environment() -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (user, password) = (variable("CARAFE_USERNAME")?, variable("CARAFE_PASSWORD")?);
        Some(Self::Password { user, password: Secret::new(password) })
    }
}

/// A credential and where it came from, which error messages say.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) credential: Credential,
    place: String,
}

impl Identity {
    /// One that was given through the environment.
    pub(super) fn of_environment(credential: &Credential) -> Self {
        Self { credential: credential.clone(), place: "CARAFE_USERNAME".to_owned() }
    }

    /// For people; never has the secret.
    pub(super) fn describe(identity: Option<&Self>) -> String {
        match identity {
            None => "no credentials were found".to_owned(),
            Some(Self { credential: Credential::Password { user, .. }, place }) => {
                let doubt = doubt(user).map(|doubt| format!(", {doubt}")).unwrap_or_default();
                format!("asked as `{}` of {place}{doubt}", scrub(user))
            }
            Some(Self { credential: Credential::IdentityToken(_), place }) => {
                format!("asked with the identity token of {place}")
            }
        }
    }
}

/// What may have become of a Harbor robot's name on its way here: `robot$erp`, and
/// `robot$project+erp` for one of a project.
fn doubt(user: &str) -> Option<&'static str> {
    if user == "robot" || user.starts_with("robot+") {
        Some("which lacks what a robot's name has after its `$`: a shell keeps it in single quotes only")
    } else if user.starts_with("robot$$") {
        Some("which has a `$` too many: doubling it is for compose files and GitLab's variables")
    } else {
        None
    }
}

/// Why a lookup failed, in words, without anything secret.
#[derive(Debug)]
struct Problem(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_robots_name_that_a_shell_has_eaten_is_noticed() {
        let shown = |user: &str| {
            let credential = Credential::Password { user: user.into(), password: Secret::new("pa:ss") };
            Identity::describe(Some(&Identity::of_environment(&credential)))
        };
        assert!(shown("robot").contains("single quotes") && shown("robot+erp").contains("single quotes"));
        assert!(shown("robot$$erp").contains("too many"));
        for user in ["robot$erp", "robot$shop+erp", "robotics", "me"] {
            assert_eq!(shown(user), format!("asked as `{user}` of CARAFE_USERNAME"));
        }
    }
}
