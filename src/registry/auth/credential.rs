//! A credential and its source.

use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;

use crate::registry::error::server_message;

/// The environment variables that contain the credential for the registries that are pushed to.
const USER_VARIABLE: &str = "CARAFE_USERNAME";
const PASSWORD_VARIABLE: &str = "CARAFE_PASSWORD";

/// The credential in `CARAFE_USERNAME` and `CARAFE_PASSWORD`, if both are set and not empty.
pub(crate) fn environment_credential() -> Option<Credential> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (user, password) = (variable(USER_VARIABLE)?, variable(PASSWORD_VARIABLE)?);
    Some(Credential::Basic { user, password: Secret::new(password) })
}

/// A credential and its source, which error messages name.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) credential: Credential,
    source: String,
}

impl Login {
    pub(super) fn from_file(credential: Credential, file: String) -> Self {
        Self { credential, source: file }
    }

    /// A credential of the environment.
    pub(crate) fn from_environment(credential: &Credential) -> Self {
        Self { credential: credential.clone(), source: USER_VARIABLE.to_owned() }
    }

    /// For messages, without the secret.
    pub(crate) fn describe(login: Option<&Self>) -> String {
        match login {
            None => "no credentials were found".to_owned(),
            Some(Self { credential: Credential::Basic { user, .. }, source }) => {
                let hint = user_name_hint(user).map(|hint| format!(", {hint}")).unwrap_or_default();
                format!("user `{}` from {source}{hint}", server_message(user))
            }
            Some(Self { credential: Credential::IdentityToken(_), source }) => {
                format!("identity token from {source}")
            }
            Some(Self { source, .. }) => format!("credential from {source}"),
        }
    }
}

/// How the name of a Harbor robot account (`robot$erp`, or `robot$project+erp` for one of a project)
/// may have been changed before it got here.
fn user_name_hint(user: &str) -> Option<&'static str> {
    if user == "robot" || user.starts_with("robot+") {
        Some(
            "which lacks the part of a robot account's name after the `$`: put it in single quotes in a shell",
        )
    } else if user.starts_with("robot$$") {
        Some("which has one `$` too many: only compose files and GitLab variables require it twice")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_a_robot_account_name_that_a_shell_changed() {
        let describe = |user: &str| {
            let credential = Credential::Basic { user: user.into(), password: Secret::new("pa:ss") };
            Login::describe(Some(&Login::from_environment(&credential)))
        };
        assert!(
            describe("robot").contains("single quotes") && describe("robot+erp").contains("single quotes")
        );
        assert!(describe("robot$$erp").contains("too many"));
        for user in ["robot$erp", "robot$shop+erp", "robotics", "me"] {
            assert_eq!(describe(user), format!("user `{user}` from CARAFE_USERNAME"));
        }
    }
}
