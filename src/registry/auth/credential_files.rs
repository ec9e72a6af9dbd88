//! The files in which credentials are looked up: docker's `config.json`, podman's `auth.json`.

use std::path::PathBuf;

use super::auth_file;
use super::{Identity, Problem};
use crate::registry::error::RegistryError;
use crate::registry::reference::Repository;

/// The files in which credentials are looked up, in order.
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
        let run = || PathBuf::from(format!("/run/containers/{user}/auth.json"));
        let login = directory("REGISTRY_AUTH_FILE")
            .or_else(|| below(directory("XDG_RUNTIME_DIR"), "containers/auth.json"))
            .unwrap_or_else(run);
        let lasting = below(directory("XDG_CONFIG_HOME"), "containers/auth.json")
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
    pub(in crate::registry) fn find(
        &self,
        repository: &Repository,
    ) -> Result<Option<Identity>, RegistryError> {
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
    fn the_first_file_that_has_an_entry_decides() {
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
        let shown = Identity::describe(Some(&found));
        assert!(shown.starts_with("asked as `a` of") && shown.contains("one"), "{shown}");
    }
}
