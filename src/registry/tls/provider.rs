//! The cryptography under TLS: graviola, which compiles no C, and needs a processor made for it.

use crate::registry::error::RegistryError;

/// Makes graviola the process's TLS provider, unless there is one already. Refuses a processor
/// that lacks what graviola asserts at run time: it would panic in the middle of a handshake.
pub(in crate::registry) fn install() -> Result<(), RegistryError> {
    if rustls::crypto::CryptoProvider::get_default().is_some() {
        return Ok(());
    }
    let missing = missing_features();
    if !missing.is_empty() {
        return Err(RegistryError::Processor { missing: missing.join(", ") });
    }
    // Err says that another thread was faster, with the same provider.
    let _ = rustls_graviola::default_provider().install_default();
    Ok(())
}

/// What graviola needs and this processor lacks.
pub fn missing_features() -> Vec<&'static str> {
    features().into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("AES", is_x86_feature_detected!("aes")),
        ("PCLMULQDQ", is_x86_feature_detected!("pclmulqdq")),
        ("BMI1", is_x86_feature_detected!("bmi1")),
        ("ADX", is_x86_feature_detected!("adx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("NEON", is_aarch64_feature_detected!("neon")),
        ("AES", is_aarch64_feature_detected!("aes")),
        ("PMULL", is_aarch64_feature_detected!("pmull")),
        ("SHA2", is_aarch64_feature_detected!("sha2")),
    ]
}
