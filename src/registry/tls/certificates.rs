//! The PEM files of a registry: CAs and a client certificate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use carafe_builder::net::tls::{PemError, read_ca_bundle, read_identity};
use reqwest::{Certificate, Identity};

use crate::registry::error::RegistryError;

/// The PEM files for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Bundles of CA certificates that are trusted in addition to the system's.
    pub ca: Vec<PathBuf>,
    /// The client certificate (with its intermediate certificates) and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// The contents of the files; `registry` is for error messages.
    pub(crate) fn read(&self, registry: &str) -> Result<(Vec<Certificate>, Option<Identity>), RegistryError> {
        let failed = |PemError { path, reason }| certificate_error(registry, &path, reason);
        let mut authorities = Vec::new();
        for path in &self.ca {
            authorities.extend(read_ca_bundle(path).map_err(failed)?);
        }
        let identity = self.client.as_ref().map(|(certificate, key)| read_identity(certificate, key));
        Ok((authorities, identity.transpose().map_err(failed)?))
    }
}

pub(crate) fn certificate_error(registry: &str, path: &Path, reason: String) -> RegistryError {
    RegistryError::Certificates { registry: registry.to_owned(), path: path.to_owned(), reason }
}

/// Directories such as docker's `/etc/docker/certs.d`, with one subdirectory for each registry.
#[derive(Clone, Debug, Default)]
pub struct CertificateDirectories(Vec<PathBuf>);

impl CertificateDirectories {
    /// `$HOME/.config/containers/certs.d`, `/etc/containers/certs.d`, `/etc/docker/certs.d`.
    pub fn from_environment() -> Self {
        let home = std::env::var_os("HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = home.map(|home| home.join(".config/containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        Self(own.into_iter().chain(system).collect())
    }

    /// Only these directories.
    pub fn at(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(directories.into_iter().collect())
    }

    /// The files for `registry` (with its port), named as in docker and podman: `*.crt` are CAs,
    /// `*.cert` is a client certificate, and the `*.key` of the same name is its key. The first
    /// directory with a subdirectory for this registry applies. One without read permission is
    /// skipped, as in podman.
    pub(crate) fn find(&self, registry: &str) -> Result<TlsFiles, RegistryError> {
        for directory in self.0.iter().map(|directory| directory.join(registry)) {
            match list(&directory) {
                Ok(files) => return classify(registry, files),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(certificate_error(registry, &directory, error.to_string())),
            }
        }
        Ok(TlsFiles::default())
    }
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::NotADirectory | Kind::PermissionDenied)
}

/// The files of a directory, sorted by name.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn classify(registry: &str, files: Vec<PathBuf>) -> Result<TlsFiles, RegistryError> {
    let mut found = TlsFiles::default();
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|extension| extension == kind);
    for path in &files {
        let (certificate, key) = (path.with_extension("cert"), path.with_extension("key"));
        if is(path, "crt") {
            found.ca.push(path.clone());
        } else if is(path, "cert") && !files.contains(&key) {
            let reason =
                "there is no `.key` file of the same name; the file of a CA certificate ends in `.crt`";
            return Err(certificate_error(registry, path, reason.to_owned()));
        } else if is(path, "key") && !files.contains(&certificate) {
            return Err(certificate_error(
                registry,
                path,
                "there is no `.cert` file of the same name".to_owned(),
            ));
        } else if is(path, "cert") && found.client.is_none() {
            found.client = Some((certificate, key));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(files: &[&str]) -> Result<TlsFiles, String> {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("r.io:5000");
        fs::create_dir(&directory).unwrap();
        files.iter().for_each(|name| fs::write(directory.join(name), "x").unwrap());
        let directories = CertificateDirectories::at([root.path().join("missing"), root.path().to_owned()]);
        assert_eq!(directories.find("r.io").unwrap(), TlsFiles::default());
        let mut found = directories.find("r.io:5000").map_err(|error| error.to_string())?;
        let bare = |path: &mut PathBuf| *path = path.strip_prefix(&directory).unwrap().to_owned();
        found.ca.iter_mut().for_each(bare);
        found.client = found.client.map(|(mut certificate, mut key)| {
            bare(&mut certificate);
            bare(&mut key);
            (certificate, key)
        });
        Ok(found)
    }

    #[test]
    fn reads_a_directory_as_docker_does() {
        let found = find(&["ca.crt", "client.key", "client.cert", "b.crt", "README"]).unwrap();
        let client = Some(("client.cert".into(), "client.key".into()));
        assert_eq!(found, TlsFiles { ca: vec!["b.crt".into(), "ca.crt".into()], client });
    }

    #[test]
    fn a_certificate_without_key_is_an_error() {
        assert!(find(&["client.cert"]).unwrap_err().contains("no `.key`"));
        assert!(find(&["client.key"]).unwrap_err().contains("no `.cert`"));
    }

    #[test]
    fn a_file_without_certificates_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let files = TlsFiles { ca: vec![path.clone()], client: Some((path.clone(), path.clone())) };
        assert!(files.read("r.io").unwrap_err().to_string().contains("ca.pem"));
        fs::write(&path, "garbage").unwrap();
        assert!(files.read("r.io").unwrap_err().to_string().contains("no certificate"));
        let files = TlsFiles { ca: Vec::new(), ..files };
        assert!(files.read("r.io").unwrap_err().to_string().contains("not a key pair"));
    }
}
