//! TLS for everything in this process that speaks https.

use std::path::{Path, PathBuf};
use std::sync::Once;

/// Names certificates that are trusted besides the machine's.
const EXTRA_AUTHORITIES: &str = "GIT_SSL_CAINFO";

/// A bundle of certificates that could not be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to read certificates from `{path}`: {reason}")]
#[diagnostic(help("it must be a PEM file of certificates"))]
pub struct BundleError {
    path: PathBuf,
    reason: String,
}

/// Makes graviola the provider of rustls' cryptography, once for the whole process.
///
/// Call it before the first https request, whoever makes it: rustls panics when it has none. A
/// provider that is already installed stays.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody else was first, which is as good.
        let _ = rustls_graviola::default_provider().install_default();
    });
}

/// The certificates that `GIT_SSL_CAINFO` names, if it is set: git's users keep theirs there.
pub fn extra_authorities() -> Result<Vec<reqwest::Certificate>, BundleError> {
    std::env::var_os(EXTRA_AUTHORITIES).map_or_else(|| Ok(Vec::new()), |path| authorities(Path::new(&path)))
}

/// The certificates of a bundle.
pub fn authorities(bundle: &Path) -> Result<Vec<reqwest::Certificate>, BundleError> {
    let failed =
        |error: &dyn std::fmt::Display| BundleError { path: bundle.to_owned(), reason: error.to_string() };
    let pem = std::fs::read(bundle).map_err(|error| failed(&error))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))
}
