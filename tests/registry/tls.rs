//! TLS: a private CA, a CA's own certificate, plain HTTP where TLS is expected and the reverse.

use std::path::{Path, PathBuf};
use std::process::Command;

use carafe::registry::{Registry, RegistryError, RegistryOptions};

use crate::server::{RegistryServer, Setup};
use crate::{client, in_environment, inside, name, shown};

/// A client that speaks plain HTTP to nobody.
fn strict() -> Registry {
    Registry::new(RegistryOptions::default()).unwrap()
}

fn resolve(registry: &Registry, address: &str) -> RegistryError {
    registry.resolve(&name(&format!("{address}/a:1"))).unwrap_err()
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl runs (the Debian package `openssl` has it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, and a certificate for 127.0.0.1 that it signed: `ca.pem`, `server.pem`, `server.key`.
fn authority(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"));
    openssl(
        folder,
        &format!(
            "req -x509 {key} -keyout server.key -out server.pem -days 2 -subj /CN=registry -CA ca.pem -CAkey ca.key -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ),
    );
}

fn tls(folder: &Path, certificate: &str, key: &str) -> Setup {
    let tls: (PathBuf, PathBuf) = (folder.join(certificate), folder.join(key));
    Setup { tls: Some(tls), ..Setup::default() }
}

#[test]
fn a_private_ca_is_trusted_where_named() {
    const TEST: &str = "tls::a_private_ca_is_trusted_where_named";
    if let Some(address) = inside() {
        let error = resolve(&strict(), &address);
        let is_trusted = std::env::var("SSL_CERT_FILE").unwrap().ends_with("ca.pem");
        match is_trusted {
            true => assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}"),
            false => {
                let text = shown(error);
                assert!(text.contains("not trusted") && text.contains("SSL_CERT_FILE"), "{text}");
            }
        }
        return;
    }
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(ours.path());
    authority(theirs.path());
    std::fs::rename(theirs.path().join("ca.pem"), theirs.path().join("other.pem")).unwrap();
    let server = RegistryServer::with(tls(ours.path(), "server.pem", "server.key"));
    for bundle in [ours.path().join("ca.pem"), theirs.path().join("other.pem")] {
        in_environment(TEST, server.address(), &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
    }
}

#[test]
fn a_cas_own_certificate_is_explained() {
    if let Some(address) = inside() {
        let text = shown(resolve(&strict(), &address));
        return assert!(text.contains("CA:FALSE"), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=self -addext subjectAltName=IP:127.0.0.1",
    );
    let server = RegistryServer::with(tls(folder.path(), "ca.pem", "ca.key"));
    let bundle = folder.path().join("ca.pem");
    in_environment(
        "tls::a_cas_own_certificate_is_explained",
        server.address(),
        &[("SSL_CERT_FILE", bundle.to_str().unwrap())],
    );
}

#[test]
fn a_machine_without_ca_bundle_gets_an_error() {
    if inside().is_some() {
        let error = Registry::new(RegistryOptions::default()).err().unwrap();
        return assert!(shown(error).contains("ca-certificates"));
    }
    let nowhere = [("SSL_CERT_FILE", "/nonexistent/ca.pem"), ("SSL_CERT_DIR", "/nonexistent")];
    in_environment("tls::a_machine_without_ca_bundle_gets_an_error", "-", &nowhere);
}

#[test]
fn plain_http_is_not_spoken_unless_asked_for() {
    let server = RegistryServer::start();
    let error = resolve(&strict(), server.address());
    assert!(matches!(error, RegistryError::PlainHttp { .. }), "{error:?}");
    let text = shown(error);
    assert!(text.contains("--insecure-registry") && text.contains(server.address()), "{text}");
}

#[test]
fn a_registry_that_speaks_tls_is_not_insecure() {
    let folder = tempfile::tempdir().unwrap();
    authority(folder.path());
    let server = RegistryServer::with(tls(folder.path(), "server.pem", "server.key"));
    let error = resolve(&client(server.address()), server.address());
    assert!(matches!(error, RegistryError::NotPlainHttp { .. }), "{error:?}");
}

#[test]
fn nobody_there_is_said() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = resolve(&client(&port.to_string()), &port.to_string());
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(shown(error).contains("onnection refused"));
}
