//! Who we are to a registry: docker's `config.json`, its helpers, podman's `auth.json`, and the
//! environment.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use carafe_builder::secret::Secret;
use docker_credential::{CredentialRetrievalError, DockerCredential};

use super::error::{RegistryError, scrub};

/// The host under which Docker Hub is addressed, and the names it has in a `config.json`.
const HUB: &str = "docker.io";
const HUB_KEYS: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

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
    /// For people; never has the secret.
    pub(super) fn describe(identity: Option<&Self>) -> String {
        match identity {
            None => "no credentials were found".to_owned(),
            Some(Self { credential: Credential::Password { user, .. }, place }) => {
                format!("asked as `{}` of {place}", scrub(user))
            }
            Some(Self { credential: Credential::IdentityToken(_), place }) => {
                format!("asked with the identity token of {place}")
            }
        }
    }
}

/// The files in which credentials are looked up, in order.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles(Vec<PathBuf>);

impl CredentialFiles {
    /// docker's (`$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`), then podman's
    /// (`$REGISTRY_AUTH_FILE`, else `$XDG_RUNTIME_DIR/containers/auth.json`, then
    /// `$HOME/.config/containers/auth.json`).
    pub fn from_environment() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = folder("HOME");
        let below = |folder: Option<PathBuf>, path: &str| Some(folder?.join(path));
        let docker = below(folder("DOCKER_CONFIG"), "config.json")
            .or_else(|| below(home.clone(), ".docker/config.json"));
        let podman =
            folder("REGISTRY_AUTH_FILE").or_else(|| below(folder("XDG_RUNTIME_DIR"), "containers/auth.json"));
        Self([docker, podman, below(home, ".config/containers/auth.json")].into_iter().flatten().collect())
    }

    /// These files alone.
    pub fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().collect())
    }

    /// What they have for `registry`: the first file that has an entry decides. Runs a credential
    /// helper where a file names one. A file that is not there is no error; one that is broken,
    /// or a helper that fails, is.
    pub(super) fn find(&self, registry: &str) -> Result<Option<Identity>, RegistryError> {
        let keys: &[&str] = if registry == HUB { &HUB_KEYS } else { &[registry] };
        for path in &self.0 {
            for key in keys {
                if let Some(identity) = find_in(path, key, registry)? {
                    return Ok(Some(identity));
                }
            }
        }
        Ok(None)
    }
}

fn find_in(path: &Path, key: &str, registry: &str) -> Result<Option<Identity>, RegistryError> {
    let place = format!("`{}`", path.display());
    let failed = |reason: String| RegistryError::Credentials {
        registry: registry.to_owned(),
        place: place.clone(),
        reason,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    match docker_credential::get_credential_from_reader(BufReader::new(file), key) {
        Ok(credential) => Ok(Some(Identity { credential: convert(credential), place })),
        Err(error) => explain(error).map_or(Ok(None), |reason| Err(failed(reason))),
    }
}

fn convert(credential: DockerCredential) -> Credential {
    match credential {
        DockerCredential::UsernamePassword(user, password) => {
            Credential::Password { user, password: Secret::new(password) }
        }
        DockerCredential::IdentityToken(token) => Credential::IdentityToken(Secret::new(token)),
    }
}

/// Why a lookup failed, in words; none where there simply is no entry. A helper's stdout is not
/// shown: it may hold the secret.
fn explain(error: CredentialRetrievalError) -> Option<String> {
    use CredentialRetrievalError as Error;
    match error {
        Error::NoCredentialConfigured | Error::ConfigNotFound => None,
        // The word of docker's own helpers for "no such entry".
        Error::HelperFailure { stdout, .. } if stdout.contains("credentials not found") => None,
        Error::HelperFailure { helper, stderr, .. } => {
            Some(format!("the helper `{}` failed: {}", scrub(&helper), scrub(&stderr)))
        }
        Error::HelperCommunicationError => {
            Some("its credential helper could not be run: is `docker-credential-…` in PATH?".to_owned())
        }
        Error::MalformedHelperResponse => Some("the answer of its credential helper is malformed".to_owned()),
        Error::ConfigReadError => Some("the file is no valid JSON of docker's form".to_owned()),
        Error::CredentialDecodingError => Some("`auth` is no base64 of `user:password`".to_owned()),
        Error::CredentialMismatchError => Some("`auth` contradicts `username` and `password`".to_owned()),
    }
}

/// An identity from the environment.
pub(super) fn from_environment(credential: &Credential) -> Identity {
    Identity { credential: credential.clone(), place: "CARAFE_USERNAME".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, registry: &str) -> Result<Option<Identity>, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        CredentialFiles::at([folder.path().join("missing.json"), path]).find(registry)
    }

    // "robot$erp:pa:ss"
    const CONFIG: &str = r#"{"auths":{"a.example.com:5000":{"auth":"cm9ib3QkZXJwOnBhOnNz"},
        "https://index.docker.io/v1/":{"identitytoken":"refresh","auth":"eDp5"}}}"#;

    #[test]
    fn a_password_may_have_colons_and_a_user_a_dollar() {
        let found = find(CONFIG, "a.example.com:5000").unwrap().unwrap();
        let expected = Credential::Password { user: "robot$erp".into(), password: Secret::new("pa:ss") };
        assert_eq!(found.credential, expected);
        let shown = Identity::describe(Some(&found));
        assert!(shown.contains("robot$erp") && !shown.contains("pa:ss"), "{shown}");
    }

    #[test]
    fn docker_hub_has_its_own_key() {
        let found = find(CONFIG, "docker.io").unwrap().unwrap();
        assert_eq!(found.credential, Credential::IdentityToken(Secret::new("refresh")));
    }

    #[test]
    fn another_registry_has_nothing() {
        assert!(find(CONFIG, "a.example.com").unwrap().is_none());
        assert!(find("{}", "a.example.com").unwrap().is_none());
    }

    #[test]
    fn a_broken_entry_is_an_error_that_names_the_file() {
        for json in ["{", r#"{"auths":{"a.example.com":{"auth":"!"}}}"#] {
            let error = find(json, "a.example.com").unwrap_err().to_string();
            assert!(error.contains("config.json"), "{error}");
        }
    }
}
