//! TLS towards registries: the certificate authorities that are trusted, the client certificates
//! that are presented, and the cryptography provider.

mod certificates;
mod provider;

pub(super) use self::certificates::wrong_certificate;
pub use self::certificates::{CertificateDirectories, TlsFiles};
pub(super) use self::provider::install;
pub use self::provider::missing_features as missing_processor_features;
