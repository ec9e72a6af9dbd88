//! No password, token or presigned URL is in the output of `carafe`, in its files, or in a command line,
//! even if servers send it back.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::faulty::{FakeRegistry, Fault, Request, Response};
use crate::table::{image, layer};

/// `user:password` in base64, and the password, of the two accounts.
const BASE: (&str, &str) = ("cm9ib3QkYmFzZTpiNHNlLXBhc3N3b3Jk", "b4se-password");
const TARGET: (&str, &str) = ("cm9ib3QkZXJwOnQ0cmdldC1wYXNzd29yZA==", "t4rget-password");
const IDENTITY: &str = "1dentity-of-the-target";
const TOKEN: &str = "be4rer-token";
/// The signature in the URLs of the object store.
const SIGNATURE: &str = "s1gnature";

/// Texts that must not contain a secret.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, String)>>>);

impl Seen {
    fn add(&self, place: impl Into<String>, text: impl Into<String>) {
        self.0.lock().unwrap().push((place.into(), text.into()));
    }

    fn command_lines(&self) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            self.add("a command line", String::from_utf8_lossy(&line));
        }
    }

    fn files(&self, directory: &Path) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.files(&path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                self.add(path.display().to_string(), String::from_utf8_lossy(&bytes));
            }
        }
    }

    fn check(&self) {
        for (place, text) in self.0.lock().unwrap().iter() {
            for secret in [BASE.0, BASE.1, TARGET.0, TARGET.1, IDENTITY, TOKEN, SIGNATURE] {
                assert!(!text.contains(secret), "{place} has {secret}: {text}");
            }
        }
    }
}

/// Sends back the request, and a presigned URL.
fn echo(status: u16, request: &Request) -> Fault {
    let shown = request.headers.get("authorization").cloned().unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let url = format!("http://storage.example/blob?X-Signature={SIGNATURE}");
    Fault::Respond(Response::status(status).body(format!("you sent {shown} to {url} with {body}")))
}

/// Requires basic authentication, has the image, and redirects requests for its layer to an object store.
fn base(storage: &FakeRegistry, seen: Seen) -> FakeRegistry {
    let location = format!("http://{}/blobs/{{}}?X-Signature={SIGNATURE}", storage.address());
    let digest = image().resolved().manifest.layers[0].digest.to_string();
    let server = FakeRegistry::scripted(move |request| {
        seen.command_lines();
        if request.headers.get("authorization") != Some(&format!("Basic {}", BASE.0)) {
            return Some(Fault::Respond(
                Response::status(401).with("WWW-Authenticate", r#"Basic realm="x""#),
            ));
        }
        let is_layer = request.is("GET", &digest);
        is_layer
            .then(|| Fault::Respond(Response::status(307).with("Location", location.replace("{}", &digest))))
    });
    let resolved = image().resolved();
    for name in ["1", &resolved.descriptor.digest.to_string()] {
        server.put(name, &resolved.manifest_bytes);
    }
    server.put(&resolved.manifest.config.digest.to_string(), &resolved.config_bytes);
    server
}

/// Requires a token, which it issues itself. The response to the chunk number `nth` has `status`, and
/// everything that was sent.
fn target(nth: usize, status: u16, seen: Seen) -> FakeRegistry {
    let count = AtomicUsize::new(0);
    FakeRegistry::run(
        |_| None,
        move |request| {
            seen.command_lines();
            if request.target.starts_with("/token") {
                let shown = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
                return match shown.contains(TARGET.0) || shown.contains(IDENTITY) {
                    true => {
                        Some(Fault::Respond(Response::status(200).body(format!(r#"{{"token":"{TOKEN}"}}"#))))
                    }
                    false => Some(echo(401, request)),
                };
            }
            if request.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
                let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, request.headers["host"]);
                return Some(Fault::Respond(Response::status(401).with("WWW-Authenticate", realm)));
            }
            let is_meant = request.method == "PATCH" && count.fetch_add(1, Ordering::Relaxed) + 1 == nth;
            is_meant.then(|| echo(status, request))
        },
    )
}

/// Copies the image. Returns whether it succeeded, and the output.
#[track_caller]
fn copy(login: &str, status: u16) -> (bool, String, FakeRegistry) {
    let (seen, directory) = (Seen::default(), tempfile::tempdir().unwrap());
    let broken = AtomicUsize::new(0);
    let storage = FakeRegistry::scripted(move |request| {
        let is_first = request.method == "GET" && broken.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then_some(Fault::Short(1 << 20))
    });
    storage.put(&image().resolved().manifest.layers[0].digest.to_string(), layer());
    let (base, target) = (base(&storage, seen.clone()), target(2, status, seen.clone()));
    let auths = format!(r#""{}":{{"auth":"{}"}},"{}":{login}"#, base.address(), BASE.0, target.address());
    let config = directory.path().join("docker");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("config.json"), format!(r#"{{"auths":{{{auths}}}}}"#)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_carafe"))
        .args(["copy", &base.image("a:1"), &target.image("a:1")])
        .args(["--insecure-registry", base.address(), "--insecure-registry", target.address()])
        .env("DOCKER_CONFIG", &config)
        .env("HOME", directory.path())
        .env("CARAFE_CACHE_DIR", directory.path().join("cache"))
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    seen.add("the output", &text);
    seen.files(&directory.path().join("cache"));
    seen.check();
    // Without this the checks above prove little.
    assert!(
        base.seen("GET", "/manifests/").iter().all(|request| request.headers.contains_key("authorization"))
    );
    let requests = storage.seen("GET", SIGNATURE);
    assert!(requests.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(requests.len() >= 2, "{text}");
    (output.status.success(), text, target)
}

#[test]
fn shows_no_secret_while_a_copy_is_retried() {
    let (is_done, text, target) = copy(&format!(r#"{{"auth":"{}"}}"#, TARGET.0), 502);
    assert!(is_done && text.contains("retrying in") && text.contains("you sent Bearer ***"), "{text}");
    assert!(target.stored("1").is_some());
}

#[test]
fn shows_no_secret_if_a_copy_is_rejected() {
    let (is_done, text, target) = copy(&format!(r#"{{"identitytoken":"{IDENTITY}"}}"#), 403);
    assert!(
        !is_done && text.contains("you sent Bearer ***") && text.contains("storage.example/blob"),
        "{text}"
    );
    assert!(target.stored("1").is_none());
}

#[test]
fn shows_no_secret_if_a_token_request_is_rejected() {
    let seen = Seen::default();
    let target = target(0, 0, seen.clone());
    let directory = tempfile::tempdir().unwrap();
    let wrong = "d3Jvbmc6dzRvbmctcGFzc3dvcmQ=";
    let auths = format!(r#"{{"auths":{{"{}":{{"auth":"{wrong}"}}}}}}"#, target.address());
    std::fs::write(directory.path().join("config.json"), auths).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_carafe"))
        .args(["inspect", &target.image("a:1"), "--insecure-registry", target.address()])
        .env("DOCKER_CONFIG", directory.path())
        .env("HOME", directory.path())
        .env("CARAFE_CACHE_DIR", directory.path().join("cache"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("you sent Basic ***"), "{text}");
    assert!(!text.contains(wrong) && !text.contains("w4ong-password"), "{text}");
    seen.check();
}
