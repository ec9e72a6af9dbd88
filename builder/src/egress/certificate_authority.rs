//! The certificate authority of one build. Only its sandbox trusts it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use carafe_layers::digest::Digest;
use graviola::hashing::Sha256;
use graviola::signing::ecdsa::{P256, SigningKey};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::EgressError;

/// Maximum number of hosts whose certificates are kept: a hostile build may use any number of names.
const MAX_HOSTS: usize = 1000;
/// Buffer size for an ECDSA key or signature, larger than any encoding used here.
const MAX_ENCODED_BYTES: usize = 256;

/// Issues certificates for the hosts that steps connect to. Its key is created with it, never leaves
/// this process's memory, and is dropped with it.
pub(super) struct CertificateAuthority {
    issuer: Issuer<'static, Key>,
    pem: String,
    /// One key for all hosts: the egress proxy terminates all connections.
    host_key: Key,
    hosts: Mutex<BTreeMap<String, Arc<ServerConfig>>>,
}

impl CertificateAuthority {
    /// Creates a CA with a new key.
    pub fn new() -> Result<Self, EgressError> {
        let key = Key::generate()?;
        let mut params = params("carafe: the CA of this build", &key);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pem = pem(&certificate);
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            host_key: Key::generate()?,
            hosts: Mutex::default(),
        })
    }

    /// The CA certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The TLS configuration of a server for `host`, with HTTP/2 and HTTP/1.1.
    pub fn server(&self, host: &str) -> Result<Arc<ServerConfig>, EgressError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = hosts.get(host) {
            return Ok(Arc::clone(config));
        }
        if hosts.len() >= MAX_HOSTS {
            hosts.clear();
        }
        let config = Arc::new(self.make_server(host)?);
        hosts.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn make_server(&self, host: &str) -> Result<ServerConfig, EgressError> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let mut params = params("carafe: a host behind the egress proxy", &self.host_key);
        params.subject_alt_names =
            CertificateParams::new([name.to_owned()]).map_err(failed)?.subject_alt_names;
        params.serial_number = Some(serial(name.as_bytes()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.host_key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::try_from(self.host_key.pkcs8()?).map_err(failed)?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::clone(certificate.der())], key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// rcgen's default validity, 1975 to 4096, does not depend on the clock.
fn params(name: &str, key: &Key) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial(&key.public));
    params.key_identifier_method = KeyIdMethod::PreSpecified(octets(&key.public).to_vec());
    params
}

fn serial(of: &[u8]) -> SerialNumber {
    // A serial number is positive: its first bit is not set.
    let mut octets = octets(of);
    octets[0] = octets[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&octets)
}

fn octets(of: &[u8]) -> [u8; 16] {
    let hex = Digest::of(of).hex();
    let mut octets = [0; 16];
    octets.copy_from_slice(&hex.as_bytes()[..16]);
    octets
}

fn pem(certificate: &Certificate) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// An ECDSA key on P-256 of graviola, with the interface that rcgen requires.
struct Key {
    private: SigningKey<P256>,
    /// The uncompressed point.
    public: Vec<u8>,
}

impl Key {
    fn generate() -> Result<Self, EgressError> {
        let private = SigningKey::<P256>::generate().map_err(failed)?;
        let mut spki = [0; MAX_ENCODED_BYTES];
        let spki = private.to_spki_der(&mut spki).map_err(failed)?;
        // An SPKI ends with the point: its first byte and two coordinates of 32 bytes.
        let public = spki[spki.len().saturating_sub(65)..].to_vec();
        Ok(Self { private, public })
    }

    fn pkcs8(&self) -> Result<Vec<u8>, EgressError> {
        let mut buffer = [0; MAX_ENCODED_BYTES];
        self.private.to_pkcs8_der(&mut buffer).map(<[u8]>::to_vec).map_err(failed)
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut buffer = [0; MAX_ENCODED_BYTES];
        let signature = self.private.sign_asn1::<Sha256>(&[message], &mut buffer);
        signature.map(<[u8]>::to_vec).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

fn failed(error: impl std::fmt::Debug) -> EgressError {
    EgressError::CertificateAuthority { reason: format!("{error:?}") }
}
