//! The checks of `carafe doctor --registry`.

use carafe::check::{Check, CheckStatus};
use carafe::registry::{CredentialFiles, DoctorTarget, Mirrors, Registry, RegistryOptions};

use crate::certificates::authority;
use crate::faulty::{FakeRegistry, Response};
use crate::images::Image;
use crate::push::push;
use crate::server::{RegistryServer, Setup};
use crate::{client, client_with, quick};

fn examine(registry: &Registry, name: &str) -> Vec<Check> {
    registry.run_checks(&DoctorTarget::parse(name).unwrap())
}

/// In order, as `name state`.
fn states(checks: &[Check]) -> Vec<String> {
    checks.iter().map(|check| format!("{} {}", check.name, check.status.name())).collect()
}

/// The first check with this status, as text.
fn first(checks: &[Check], status: CheckStatus) -> String {
    let check = checks.iter().find(|check| check.status == status).unwrap();
    format!("{}: {} ({})", check.name, check.message, check.help.as_deref().unwrap_or_default())
}

#[test]
fn all_checks_pass() {
    let server = RegistryServer::start();
    let registry = client(server.address());
    let image = server.image("a/b:1");
    push(&registry, &Image::new(&[b"one"]), &[&image]).unwrap();
    let checks = examine(&registry, &image);
    let expected = [
        "name pass",
        "tls pass",
        "ca skipped",
        "auth pass",
        "push pass",
        "mount pass",
        "referrers warn",
        "chunks pass",
    ];
    assert_eq!(states(&checks), expected, "{checks:#?}");
    assert!(checks[4].message.ends_with("was opened and canceled"), "{checks:#?}");
    // Without an image there is no blob to mount, and with only a host nothing is written.
    assert_eq!(states(&examine(&registry, &server.image("new")))[5], "mount skipped");
    let host = examine(&registry, server.address());
    assert_eq!(states(&host)[3..5], ["auth pass", "push skipped"]);
}

/// A location in `registries.conf` is checked instead of the name.
#[test]
fn shows_the_location_that_registries_conf_configures() {
    let (server, directory) = (RegistryServer::start(), tempfile::tempdir().unwrap());
    let conf = directory.path().join("registries.conf");
    let text = "[[registry]]\nprefix = \"r.example.com\"\ninsecure = true\nlocation = ";
    std::fs::write(&conf, format!("{text}\"{}/hub\"\n", server.address())).unwrap();
    let mirrors = Mirrors::read([conf]).unwrap();
    let registry = Registry::new(RegistryOptions { mirrors, ..RegistryOptions::default() }).unwrap();
    let checks = examine(&registry, "r.example.com/a");
    assert!(checks[0].message.contains("maps r.example.com/a to it"), "{checks:#?}");
    assert!(checks[4].message.contains(&server.image("hub/a")), "{checks:#?}");
}

#[test]
fn cancels_every_upload_that_it_opens() {
    let server =
        FakeRegistry::start(|request| request.is("DELETE", "/blobs/uploads/").then(|| Response::status(204)));
    let image = server.image("a:1");
    push(&client(server.address()), &Image::new(&[b"one"]), &[&image]).unwrap();
    let before = server.seen("POST", "/blobs/uploads/").len();
    examine(&client(server.address()), &image);
    let opened = server.seen("POST", "/blobs/uploads/").len() - before;
    assert_eq!((opened, server.seen("DELETE", "/blobs/uploads/session-").len()), (3, 3));
}

#[test]
fn stops_after_an_unknown_ca_or_a_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    authority(directory.path());
    let tls = Some((directory.path().join("server.pem"), directory.path().join("server.key")));
    let server = RegistryServer::with(Setup { tls, ..Setup::default() });
    let strict = Registry::new(RegistryOptions { retries: quick(), ..RegistryOptions::default() }).unwrap();
    let checks = examine(&strict, &server.image("a"));
    assert_eq!(states(&checks)[1..4], ["tls pass", "ca fail", "auth skipped"]);
    assert!(first(&checks, CheckStatus::Fail).contains("`ca = "), "{checks:#?}");

    let server = RegistryServer::with(Setup { login: Some(("me", "right-horse")), ..Setup::default() });
    let config = directory.path().join("config.json");
    // "me:wrong-horse".
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6d3JvbmctaG9yc2U="}}}}}}"#, server.address());
    std::fs::write(&config, text).unwrap();
    let registry = client_with(server.address(), CredentialFiles::at([config]));
    let checks = examine(&registry, &server.image("a"));
    assert_eq!(states(&checks)[3..5], ["auth fail", "push skipped"]);
    let shown = first(&checks, CheckStatus::Fail);
    assert!(shown.contains("user `me` from") && !shown.contains("wrong-horse"), "{shown}");
}

#[test]
fn shows_the_scope_that_a_push_requires() {
    let server =
        FakeRegistry::start(|request| request.is("POST", "/uploads/").then(|| Response::status(403)));
    let checks = examine(&client(server.address()), &server.image("shop/erp"));
    assert_eq!(states(&checks)[4..6], ["push fail", "mount skipped"]);
    assert!(first(&checks, CheckStatus::Fail).contains("repository:shop/erp:pull,push"), "{checks:#?}");
}

/// Each request is sent once: the result is about the current state.
#[test]
fn reports_missing_chunk_support_and_an_unavailable_registry() {
    let server = FakeRegistry::start(|request| request.is("PATCH", "").then(|| Response::status(405)));
    let checks = examine(&client(server.address()), &server.image("a"));
    assert_eq!(states(&checks)[7], "chunks warn");

    let server = FakeRegistry::start(|_| Some(Response::status(503)));
    let checks = examine(&client(server.address()), &server.image("a"));
    assert_eq!(states(&checks)[1..4], ["tls pass", "ca skipped", "auth fail"]);
    assert_eq!(server.seen("GET", "/v2/").len(), 2);
}

/// Like a proxy in front of two instances with different secrets.
#[test]
fn reports_a_lost_upload_and_the_minimum_chunk_size() {
    let start = |status: u16| {
        FakeRegistry::start(move |request| {
            let response = Response::status(202).with("OCI-Chunk-Min-Length", "4096");
            let response = response.with("Location", "/v2/a/blobs/uploads/one");
            match request.method.as_str() {
                "POST" => Some(response),
                "PATCH" => Some(Response::status(status)),
                _ => None,
            }
        })
    };
    let (gone, here) = (start(404), start(202));
    let checks = examine(&client(gone.address()), &gone.image("a"));
    assert!(first(&checks, CheckStatus::Fail).contains("http.secret"), "{checks:#?}");
    let checks = examine(&client(here.address()), &here.image("a"));
    assert!(checks[7].message.contains("at least 4096 bytes"), "{checks:#?}");
}
