//! The CA certificates and client certificates of each registry.

mod certificates;

pub(crate) use self::certificates::certificate_error;
pub use self::certificates::{CertificateDirectories, TlsFiles};
