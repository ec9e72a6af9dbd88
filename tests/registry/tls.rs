//! TLS: private CAs, client certificates, plain HTTP where TLS is expected and the reverse.

use std::path::{Path, PathBuf};

use carafe::registry::{CertificateDirectories, Registry, RegistryError, RegistryOptions, TlsFiles};

use crate::certificates::{authority, openssl, pair};
use crate::images::Image;
use crate::nginx::Nginx;
use crate::push::push;
use crate::server::{RegistryServer, Setup};
use crate::{client, in_environment, inside, name, quick, shown};

/// A client that always uses TLS.
fn strict() -> Registry {
    Registry::new(RegistryOptions { retries: quick(), ..RegistryOptions::default() }).unwrap()
}

/// A client with PEM files for `address`.
fn with_files(address: &str, ca: &[PathBuf], client: Option<(PathBuf, PathBuf)>) -> Registry {
    let tls = [(address.to_owned(), TlsFiles { ca: ca.to_vec(), client })].into();
    Registry::new(RegistryOptions { tls, retries: quick(), ..RegistryOptions::default() }).unwrap()
}

fn resolve(registry: &Registry, address: &str) -> RegistryError {
    registry.resolve(&name(&format!("{address}/a:1"))).unwrap_err()
}

/// Whether the registry responds: that the image does not exist.
fn responds(registry: &Registry, address: &str) -> bool {
    matches!(resolve(registry, address), RegistryError::NotFound { .. })
}

fn tls(directory: &Path, certificate: &str, key: &str) -> Setup {
    let tls: (PathBuf, PathBuf) = (directory.join(certificate), directory.join(key));
    Setup { tls: Some(tls), ..Setup::default() }
}

#[test]
fn trusts_a_private_ca_only_if_configured() {
    const TEST: &str = "tls::trusts_a_private_ca_only_if_configured";
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
fn explains_a_ca_certificate_that_is_used_by_a_server() {
    if let Some(address) = inside() {
        let text = shown(resolve(&strict(), &address));
        return assert!(text.contains("CA:FALSE"), "{text}");
    }
    let directory = tempfile::tempdir().unwrap();
    openssl(
        directory.path(),
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=self -addext subjectAltName=IP:127.0.0.1",
    );
    let server = RegistryServer::with(tls(directory.path(), "ca.pem", "ca.key"));
    let bundle = directory.path().join("ca.pem");
    in_environment(
        "tls::explains_a_ca_certificate_that_is_used_by_a_server",
        server.address(),
        &[("SSL_CERT_FILE", bundle.to_str().unwrap())],
    );
}

/// Not for a registry with its own CA, nor for plain HTTP.
#[test]
fn requires_a_ca_bundle_only_for_public_registries() {
    if let Some(address) = inside() {
        assert!(shown(resolve(&strict(), "registry.example.com")).contains("ca-certificates"));
        let ca = PathBuf::from(std::env::var_os("CARAFE_TEST_CA").unwrap());
        assert!(responds(&with_files(&address, &[ca], None), &address));
        return assert!(matches!(resolve(&client(&address), &address), RegistryError::NotPlainHttp { .. }));
    }
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let server = RegistryServer::with(tls(directory.path(), "server.pem", "server.key"));
    let ca = directory.path().join("ca.pem");
    let variables = [
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("CARAFE_TEST_CA", ca.to_str().unwrap()),
    ];
    let test = "tls::requires_a_ca_bundle_only_for_public_registries";
    in_environment(test, server.address(), &variables);
}

/// In the directory of one host and port only.
#[test]
fn finds_a_private_ca_in_dockers_and_podmans_directories() {
    let (directory, certs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(directory.path());
    let [server, other] =
        [(); 2].map(|()| RegistryServer::with(tls(directory.path(), "server.pem", "server.key")));
    let own = certs.path().join(server.address());
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(directory.path().join("ca.pem"), own.join("ca.crt")).unwrap();
    let certificates = CertificateDirectories::at([certs.path().to_owned()]);
    let registry =
        Registry::new(RegistryOptions { certificates, retries: quick(), ..RegistryOptions::default() })
            .unwrap();
    assert!(responds(&registry, server.address()));
    let error = resolve(&registry, other.address());
    assert!(matches!(error, RegistryError::Untrusted { .. }), "{error:?}");
}

#[test]
fn sends_a_client_certificate_if_it_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    authority(directory.path());
    pair(directory.path(), "client", "CN=robot");
    let setup = tls(directory.path(), "server.pem", "server.key");
    let server = RegistryServer::with(Setup { client_ca: Some(file("ca.pem")), ..setup });
    let address = server.address();
    let ours = Some((file("client.pem"), file("client.key")));
    assert!(responds(&with_files(address, &[file("ca.pem")], ours), address));
    let text = shown(resolve(&with_files(address, &[file("ca.pem")], None), address));
    // The server closes right after the handshake; whether its alert is read is a race.
    assert!(text.contains("client certificate") && text.contains("`client-cert`"), "{text}");
    let mixed = Some((file("client.pem"), file("server.key")));
    let text = shown(resolve(&with_files(address, &[file("ca.pem")], mixed), address));
    assert!(text.contains("server.key") && text.contains("not the key of its certificate"), "{text}");
}

/// nginx completes the handshake, and then rejects each request with an HTML page.
#[test]
fn sends_a_client_certificate_to_a_proxy_that_requires_it() {
    let server = RegistryServer::start();
    let nginx = Nginx::with_client_certificates(server.address());
    let (address, ca) = (nginx.address(), [nginx.authority()]);
    pair(nginx.directory(), "client", "CN=robot");
    let strangers = tempfile::tempdir().unwrap();
    authority(strangers.path());
    let files = |directory: &Path, name: &str| {
        Some((directory.join(format!("{name}.pem")), directory.join(format!("{name}.key"))))
    };
    let image = Image::new(&[b"one"]);
    let target = format!("{address}/a:1");
    let member = with_files(address, &ca, files(nginx.directory(), "client"));
    push(&member, &image, &[&target]).unwrap();
    assert_eq!(member.resolve(&name(&target)).unwrap().digest, image.resolved().descriptor.digest);
    for client in [None, files(strangers.path(), "server")] {
        let error = resolve(&with_files(address, &ca, client), address);
        assert!(matches!(error, RegistryError::ClientCertificate { .. }), "{error:?}");
    }
}

#[test]
fn uses_plain_http_only_if_marked_as_insecure() {
    let server = RegistryServer::start();
    let error = resolve(&strict(), server.address());
    assert!(matches!(error, RegistryError::PlainHttp { .. }), "{error:?}");
    let text = shown(error);
    assert!(text.contains("--insecure-registry") && text.contains(server.address()), "{text}");
}

#[test]
fn detects_a_tls_registry_that_is_marked_as_insecure() {
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let server = RegistryServer::with(tls(directory.path(), "server.pem", "server.key"));
    let error = resolve(&client(server.address()), server.address());
    assert!(matches!(error, RegistryError::NotPlainHttp { .. }), "{error:?}");
}

#[test]
fn reports_a_refused_connection() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = resolve(&client(&port.to_string()), &port.to_string());
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(shown(error).contains("onnection refused"));
}
