//! Who we are to a registry: docker's `config.json`, podman's `auth.json`, and the environment.

use std::path::PathBuf;

use carafe_builder::secret::Secret;

use super::auth_file::{self, Problem};
use super::error::RegistryError;
use super::reference::Repository;
use super::scrub::scrub;

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

/// The files in which credentials are looked up, in order.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles(Vec<PathBuf>);

impl CredentialFiles {
    /// docker's (`$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`), then podman's:
    /// `$REGISTRY_AUTH_FILE`, else `$XDG_RUNTIME_DIR/containers/auth.json`, else
    /// `/run/containers/UID/auth.json`; then `$XDG_CONFIG_HOME/containers/auth.json`, else
    /// `$HOME/.config/containers/auth.json`.
    pub fn from_environment() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = folder("HOME");
        let below = |folder: Option<PathBuf>, path: &str| Some(folder?.join(path));
        let docker = below(folder("DOCKER_CONFIG"), "config.json")
            .or_else(|| below(home.clone(), ".docker/config.json"));
        let user = rustix::process::getuid().as_raw();
        let run = || PathBuf::from(format!("/run/containers/{user}/auth.json"));
        let login = folder("REGISTRY_AUTH_FILE")
            .or_else(|| below(folder("XDG_RUNTIME_DIR"), "containers/auth.json"))
            .unwrap_or_else(run);
        let lasting = below(folder("XDG_CONFIG_HOME"), "containers/auth.json")
            .or_else(|| below(home, ".config/containers/auth.json"));
        Self([docker, Some(login), lasting].into_iter().flatten().collect())
    }

    /// These files alone.
    pub fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().collect())
    }

    /// What they have for `repository`: the first file that has an entry decides, and in it the
    /// entry that names the longest part of the repository's name. Runs a credential helper where
    /// a file names one. A file that is not there is no error; one that is broken, or a helper
    /// that fails, is.
    pub(super) fn find(&self, repository: &Repository) -> Result<Option<Identity>, RegistryError> {
        for path in &self.0 {
            let place = format!("`{}`", path.display());
            match auth_file::find(path, repository) {
                Ok(None) => {}
                Ok(Some(credential)) => return Ok(Some(Identity { credential, place })),
                Err(Problem(reason)) => {
                    let registry = repository.registry().to_owned();
                    return Err(RegistryError::Credentials { registry, place, reason });
                }
            }
        }
        Ok(None)
    }
}

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

    #[test]
    fn the_first_file_that_has_an_entry_decides() {
        let folder = tempfile::tempdir().unwrap();
        // "a:b" and "c:d".
        let files = [("empty", "{}"), ("one", "YTpi"), ("two", "Yzpk")].map(|(name, auth)| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#)).unwrap();
            path
        });
        std::fs::write(&files[0], "{}").unwrap();
        let files = [vec![folder.path().join("missing")], files.to_vec()].concat();
        let reference: super::super::Reference = "r.io/x/a".parse().unwrap();
        let found = CredentialFiles::at(files).find(reference.repository()).unwrap().unwrap();
        let shown = Identity::describe(Some(&found));
        assert!(shown.starts_with("asked as `a` of") && shown.contains("one"), "{shown}");
    }
}
