//! TLS for everything in this process that speaks https.

use std::sync::Once;

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
