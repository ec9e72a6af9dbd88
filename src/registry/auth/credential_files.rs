//! The files that contain credentials: docker's `config.json`, podman's `auth.json`.

use std::path::PathBuf;

use super::auth_file;
use super::credential::Login;
use super::credential_helper::LookupError;
use crate::registry::error::RegistryError;
use crate::registry::reference::Repository;

/// The files in which credentials are looked up, in this order.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles(Vec<PathBuf>);

impl CredentialFiles {
    /// docker's (`$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`), then podman's:
    /// `$REGISTRY_AUTH_FILE`, else `$XDG_RUNTIME_DIR/containers/auth.json`, else
    /// `/run/containers/UID/auth.json`; then `$XDG_CONFIG_HOME/containers/auth.json`, else
    /// `$HOME/.config/containers/auth.json`.
    pub fn from_environment() -> Self {
        let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = directory("HOME");
        let below = |directory: Option<PathBuf>, path: &str| Some(directory?.join(path));
        let docker = below(directory("DOCKER_CONFIG"), "config.json")
            .or_else(|| below(home.clone(), ".docker/config.json"));
        let user = rustix::process::getuid().as_raw();
        let runtime = || PathBuf::from(format!("/run/containers/{user}/auth.json"));
        let podman = directory("REGISTRY_AUTH_FILE")
            .or_else(|| below(directory("XDG_RUNTIME_DIR"), "containers/auth.json"))
            .unwrap_or_else(runtime);
        let persistent = below(directory("XDG_CONFIG_HOME"), "containers/auth.json")
            .or_else(|| below(home, ".config/containers/auth.json"));
        Self([docker, Some(podman), persistent].into_iter().flatten().collect())
    }

    /// Only these files.
    pub fn at(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().collect())
    }

    /// The credential for `repository`: of the first file that has an entry, the entry with the longest
    /// prefix of the repository's name. Runs the credential helper that a file names. A missing file
    /// is not an error; an invalid one and a helper that fails are.
    pub(crate) fn find(&self, repository: &Repository) -> Result<Option<Login>, RegistryError> {
        for path in &self.0 {
            let file = format!("`{}`", path.display());
            match auth_file::find(path, repository) {
                Ok(None) => {}
                Ok(Some(credential)) => return Ok(Some(Login::from_file(credential, file))),
                Err(LookupError(reason)) => {
                    let registry = repository.registry().to_owned();
                    return Err(RegistryError::Credentials { registry, source_name: file, reason });
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
    fn the_first_file_with_an_entry_applies() {
        let directory = tempfile::tempdir().unwrap();
        // "a:b" and "c:d".
        let files = [("empty", "{}"), ("one", "YTpi"), ("two", "Yzpk")].map(|(name, auth)| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!(r#"{{"auths":{{"r.io":{{"auth":"{auth}"}}}}}}"#)).unwrap();
            path
        });
        std::fs::write(&files[0], "{}").unwrap();
        let files = [vec![directory.path().join("missing")], files.to_vec()].concat();
        let reference: crate::registry::Reference = "r.io/x/a".parse().unwrap();
        let found = CredentialFiles::at(files).find(reference.repository()).unwrap().unwrap();
        let text = Login::describe(Some(&found));
        assert!(text.starts_with("user `a` from") && text.contains("one"), "{text}");
    }
}
