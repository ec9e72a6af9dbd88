//! Whom a registry has to be, and whom it may want us to be: CAs and client certificates, by host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use crate::registry::error::RegistryError;

/// A larger bundle is none; the system's has a quarter of that.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// The PEM files for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Bundles of CAs that are trusted beside the system's.
    pub ca: Vec<PathBuf>,
    /// Our certificate (with the ones that it stands on) and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// What the files hold; `registry` is for messages.
    pub(in crate::registry) fn read(
        &self,
        registry: &str,
    ) -> Result<(Vec<Certificate>, Option<Identity>), RegistryError> {
        let mut authorities = Vec::new();
        for path in &self.ca {
            let failed = |reason| wrong_certificate(registry, path, reason);
            let found = Certificate::from_pem_bundle(&read(path).map_err(failed)?)
                .map_err(|_| failed("it is no PEM".to_owned()))?;
            // A file of something else counts as an empty bundle.
            if found.is_empty() {
                return Err(failed("there is no certificate in it".to_owned()));
            }
            authorities.extend(found);
        }
        let identity = self.client.as_ref().map(|(certificate, key)| {
            let mut pem =
                read(certificate).map_err(|reason| wrong_certificate(registry, certificate, reason))?;
            pem.push(b'\n');
            pem.extend(read(key).map_err(|reason| wrong_certificate(registry, key, reason))?);
            let reason = || "with its certificate it is no pair in PEM, or it is encrypted".to_owned();
            Identity::from_pem(&pem).map_err(|_| wrong_certificate(registry, key, reason()))
        });
        Ok((authorities, identity.transpose()?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_PEM_BYTES {
        return Err(format!("it is over {MAX_PEM_BYTES} bytes"));
    }
    fs::read(path).map_err(|error| error.to_string())
}

pub(in crate::registry) fn wrong_certificate(registry: &str, path: &Path, reason: String) -> RegistryError {
    RegistryError::Certificates { registry: registry.to_owned(), path: path.to_owned(), reason }
}

/// Directories such as docker's `/etc/docker/certs.d`, which have one directory for each registry.
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

    /// These directories alone.
    pub fn at(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(directories.into_iter().collect())
    }

    /// The files for `registry` (with its port), as docker and podman name them: `*.crt` are CAs,
    /// `*.cert` is our certificate, and `*.key` beside it its key. The first directory that has one
    /// for this registry decides; one that may not be read is passed over, as by podman.
    pub(in crate::registry) fn find(&self, registry: &str) -> Result<TlsFiles, RegistryError> {
        for directory in self.0.iter().map(|directory| directory.join(registry)) {
            match list(&directory) {
                Ok(files) => return sort(registry, files),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(wrong_certificate(registry, &directory, error.to_string())),
            }
        }
        Ok(TlsFiles::default())
    }
}

fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::NotADirectory | Kind::PermissionDenied)
}

/// In the order of their names.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn sort(registry: &str, files: Vec<PathBuf>) -> Result<TlsFiles, RegistryError> {
    let mut found = TlsFiles::default();
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|extension| extension == kind);
    for path in &files {
        let (certificate, key) = (path.with_extension("cert"), path.with_extension("key"));
        if is(path, "crt") {
            found.ca.push(path.clone());
        } else if is(path, "cert") && !files.contains(&key) {
            let reason = "there is no `.key` beside it; a CA's certificate is named `.crt`";
            return Err(wrong_certificate(registry, path, reason.to_owned()));
        } else if is(path, "key") && !files.contains(&certificate) {
            return Err(wrong_certificate(registry, path, "there is no `.cert` beside it".to_owned()));
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
    fn a_directory_is_read_as_docker_reads_it() {
        let found = find(&["ca.crt", "client.key", "client.cert", "b.crt", "README"]).unwrap();
        let client = Some(("client.cert".into(), "client.key".into()));
        assert_eq!(found, TlsFiles { ca: vec!["b.crt".into(), "ca.crt".into()], client });
    }

    #[test]
    fn half_a_pair_is_an_error() {
        assert!(find(&["client.cert"]).unwrap_err().contains("no `.key`"));
        assert!(find(&["client.key"]).unwrap_err().contains("no `.cert`"));
    }

    #[test]
    fn a_file_that_holds_nothing_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let files = TlsFiles { ca: vec![path.clone()], client: Some((path.clone(), path.clone())) };
        assert!(files.read("r.io").unwrap_err().to_string().contains("ca.pem"));
        fs::write(&path, "garbage").unwrap();
        assert!(files.read("r.io").unwrap_err().to_string().contains("no certificate"));
        let files = TlsFiles { ca: Vec::new(), ..files };
        assert!(files.read("r.io").unwrap_err().to_string().contains("no pair"));
    }
}
