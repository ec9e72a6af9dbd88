//! No password, token or signed URL is in what `carafe` prints, in what it keeps, or in any
//! command line; however much the servers give it back.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::faulty::{Answer, Fault, FaultyServer, Request};
use crate::table::{image, layer};

/// Of the two accounts: `user:password` in base64, and the password.
const BASE: (&str, &str) = ("cm9ib3QkYmFzZTpiNHNlLXBhc3N3b3Jk", "b4se-password");
const TARGET: (&str, &str) = ("cm9ib3QkZXJwOnQ0cmdldC1wYXNzd29yZA==", "t4rget-password");
const IDENTITY: &str = "1dentity-of-the-target";
const TOKEN: &str = "be4rer-token";
/// Of the storage's URLs.
const SIGNATURE: &str = "s1gnature";

/// What is held against every secret.
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

/// Says back what it was sent, and where a storage is.
fn tattle(status: u16, request: &Request) -> Fault {
    let shown = request.headers.get("authorization").cloned().unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let url = format!("http://storage.example/blob?X-Signature={SIGNATURE}");
    Fault::Say(Answer::status(status).body(format!("you sent {shown} to {url} with {body}")))
}

/// Wants Basic, has the image, and sends whoever reads its layer to a storage.
fn base(storage: &FaultyServer, seen: Seen) -> FaultyServer {
    let location = format!("http://{}/blobs/{{}}?X-Signature={SIGNATURE}", storage.address());
    let digest = image().resolved().manifest.layers[0].digest.to_string();
    let server = FaultyServer::scripted(move |request| {
        seen.command_lines();
        if request.headers.get("authorization") != Some(&format!("Basic {}", BASE.0)) {
            return Some(Fault::Say(Answer::status(401).with("WWW-Authenticate", r#"Basic realm="x""#)));
        }
        let is_layer = request.is("GET", &digest);
        is_layer.then(|| Fault::Say(Answer::status(307).with("Location", location.replace("{}", &digest))))
    });
    let resolved = image().resolved();
    for name in ["1", &resolved.descriptor.digest.to_string()] {
        server.put(name, &resolved.manifest_bytes);
    }
    server.put(&resolved.manifest.config.digest.to_string(), &resolved.config_bytes);
    server
}

/// Wants a token, which it gives itself; the chunk number `nth` is answered with `status` and all
/// that it knows.
fn target(nth: usize, status: u16, seen: Seen) -> FaultyServer {
    let seen_hosts = AtomicUsize::new(0);
    FaultyServer::run(
        |_| None,
        move |request| {
            seen.command_lines();
            if request.target.starts_with("/token") {
                let shown = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
                return match shown.contains(TARGET.0) || shown.contains(IDENTITY) {
                    true => Some(Fault::Say(Answer::status(200).body(format!(r#"{{"token":"{TOKEN}"}}"#)))),
                    false => Some(tattle(401, request)),
                };
            }
            if request.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
                let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, request.headers["host"]);
                return Some(Fault::Say(Answer::status(401).with("WWW-Authenticate", realm)));
            }
            let is_meant = request.method == "PATCH" && seen_hosts.fetch_add(1, Ordering::Relaxed) + 1 == nth;
            is_meant.then(|| tattle(status, request))
        },
    )
}

/// Copies the image from one to the other; whether that went well, and all that can be seen.
#[track_caller]
fn copy(login: &str, status: u16) -> (bool, String, FaultyServer) {
    let (seen, directory) = (Seen::default(), tempfile::tempdir().unwrap());
    let broken = AtomicUsize::new(0);
    let storage = FaultyServer::scripted(move |request| {
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
    // Without this the above says little.
    assert!(
        base.seen("GET", "/manifests/").iter().all(|request| request.headers.contains_key("authorization"))
    );
    let asked = storage.seen("GET", SIGNATURE);
    assert!(asked.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(asked.len() >= 2, "{text}");
    (output.status.success(), text, target)
}

#[test]
fn none_is_shown_while_a_copy_is_tried_again() {
    let (is_done, text, target) = copy(&format!(r#"{{"auth":"{}"}}"#, TARGET.0), 502);
    assert!(is_done && text.contains("trying again") && text.contains("you sent Bearer ***"), "{text}");
    assert!(target.stored("1").is_some());
}

#[test]
fn none_is_shown_when_a_copy_is_refused() {
    let (is_done, text, target) = copy(&format!(r#"{{"identitytoken":"{IDENTITY}"}}"#), 403);
    assert!(
        !is_done && text.contains("you sent Bearer ***") && text.contains("storage.example/blob"),
        "{text}"
    );
    assert!(target.stored("1").is_none());
}

#[test]
fn none_is_shown_when_a_token_is_refused() {
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
