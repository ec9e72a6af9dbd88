//! TLS for the complete process: its cryptography provider, and the PEM files with certificates.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use rustls::crypto::CryptoProvider;

/// Names a PEM file with CA certificates that are trusted in addition to the system's; git's users
/// have theirs there.
const GIT_CA_VARIABLE: &str = "GIT_SSL_CAINFO";

/// Maximum size of a PEM file. The system's CA bundle has a quarter of this.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// The processor lacks instructions that graviola requires.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to set up TLS: the processor does not support {missing}")]
#[diagnostic(help(
    "run carafe on an x86-64 with AES, PCLMULQDQ, BMI1, ADX and AVX2 (Haswell, Zen or newer), or an arm64 \
     with the crypto extensions"
))]
pub struct UnsupportedProcessor {
    /// The missing features, separated by commas.
    pub missing: String,
}

/// A PEM file that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to read certificates from `{path}`: {reason}")]
#[diagnostic(help("name a PEM file with certificates; a private key must not be encrypted"))]
pub struct PemError {
    /// The file.
    pub path: PathBuf,
    /// The cause, without any of the file's content.
    pub reason: String,
}

/// Installs graviola as the cryptography provider of rustls, once for the process. Call it before
/// the first https request: rustls panics without a provider. A provider that is already installed
/// stays. Fails where graviola would panic during the first handshake.
pub fn install_provider() -> Result<(), UnsupportedProcessor> {
    if CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    let missing = missing_processor_features();
    if !missing.is_empty() {
        return Err(UnsupportedProcessor { missing: missing.join(", ") });
    }
    // Fails if another thread has just installed a provider, which is as good.
    let _ = rustls_graviola::default_provider().install_default();
    Ok(())
}

/// The processor features that graviola requires and this processor lacks.
pub fn missing_processor_features() -> Vec<&'static str> {
    processor_features().into_iter().filter(|(_, is_present)| !is_present).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "x86_64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES", is_x86_feature_detected!("aes")),
        ("PCLMULQDQ", is_x86_feature_detected!("pclmulqdq")),
        ("BMI1", is_x86_feature_detected!("bmi1")),
        ("ADX", is_x86_feature_detected!("adx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("NEON", is_aarch64_feature_detected!("neon")),
        ("AES", is_aarch64_feature_detected!("aes")),
        ("PMULL", is_aarch64_feature_detected!("pmull")),
        ("SHA2", is_aarch64_feature_detected!("sha2")),
    ]
}

/// The CA certificates of the file that `GIT_SSL_CAINFO` names; none if it is not set.
pub fn git_ca_bundle() -> Result<Vec<Certificate>, PemError> {
    std::env::var_os(GIT_CA_VARIABLE).map_or_else(|| Ok(Vec::new()), |path| read_ca_bundle(Path::new(&path)))
}

/// Reads a PEM file with at least one CA certificate.
pub fn read_ca_bundle(path: &Path) -> Result<Vec<Certificate>, PemError> {
    let failed = |reason: &str| PemError { path: path.to_owned(), reason: reason.to_owned() };
    let found = Certificate::from_pem_bundle(&read_pem(path)?).map_err(|_| failed("it is not a PEM file"))?;
    // A file without any PEM block parses as an empty bundle.
    if found.is_empty() {
        return Err(failed("there is no certificate in it"));
    }
    Ok(found)
}

/// Reads a client certificate, with its intermediate certificates, and its private key.
pub fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, PemError> {
    let mut pem = read_pem(certificate)?;
    pem.push(b'\n');
    pem.extend(read_pem(key)?);
    Identity::from_pem(&pem).map_err(|_| PemError {
        path: key.to_owned(),
        reason: format!(
            "it and `{}` are not a key pair in PEM, or the key is encrypted",
            certificate.display()
        ),
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, PemError> {
    let failed = |reason: String| PemError { path: path.to_owned(), reason };
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PEM_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| failed(error.to_string()))?;
    match pem.len() as u64 > MAX_PEM_BYTES {
        true => Err(failed("it is larger than 4 MiB".to_owned())),
        false => Ok(pem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_file_without_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let reason = |content: Option<Vec<u8>>| {
            content.iter().for_each(|content| std::fs::write(&path, content).unwrap());
            read_ca_bundle(&path).unwrap_err().to_string()
        };
        assert!(reason(None).contains("ca.pem"));
        assert!(reason(Some(b"garbage".to_vec())).contains("no certificate"));
        assert!(reason(Some(vec![b'#'; MAX_PEM_BYTES as usize + 1])).contains("larger than 4 MiB"));
        assert!(read_identity(&path, &path).is_err());
        std::fs::write(&path, "garbage").unwrap();
        assert!(read_identity(&path, &path).unwrap_err().to_string().contains("not a key pair"));
    }
}
