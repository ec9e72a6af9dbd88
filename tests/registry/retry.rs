//! Retries: after which errors, when, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carafe::registry::{Registry, RegistryError, RegistryOptions, RetryOptions};
use carafe_builder::progress::{Event, Progress, Sink};

use crate::clock::QuickClock;
use crate::faulty::{FakeRegistry, Request, Response};
use crate::images::Image;
use crate::name;
use crate::push::push;
use crate::tokens::with_tokens_for;

/// Collects warnings.
#[derive(Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Sink for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// A client whose pauses take no time and are recorded.
pub struct TestClient {
    pub registry: Registry,
    pub clock: Arc<QuickClock>,
    pub warnings: Arc<Warnings>,
}

impl TestClient {
    pub fn of(address: &str) -> Self {
        let (clock, warnings) = (Arc::<QuickClock>::default(), Arc::<Warnings>::default());
        let retries = RetryOptions::new(Progress::new(Arc::clone(&warnings) as _)).with_clock(clock.clone());
        let insecure = [address.to_owned()].into();
        let options = RegistryOptions { insecure, retries, ..RegistryOptions::default() };
        Self { registry: Registry::new(options).unwrap(), clock, warnings }
    }

    pub fn warned(&self) -> Vec<String> {
        self.warnings.all()
    }
}

/// A server whose response to the first `count` requests of this kind is `response`, and a client.
fn failing(
    count: usize,
    method: &'static str,
    part: &'static str,
    response: impl Fn() -> Response + Send + Sync + 'static,
) -> (FakeRegistry, TestClient) {
    let seen = AtomicUsize::new(0);
    let server = FakeRegistry::start(move |request: &Request| {
        let is_meant = request.is(method, part) && seen.fetch_add(1, Ordering::Relaxed) < count;
        is_meant.then(&response)
    });
    let client = TestClient::of(server.address());
    (server, client)
}

fn push_one((server, client): &(FakeRegistry, TestClient)) -> Result<(), RegistryError> {
    push(&client.registry, &Image::new(&[b"one"]), &[&server.image("a:1")]).map(|_| ())
}

#[test]
fn retries_after_each_temporary_status() {
    for status in [408, 425, 429, 500, 502, 503, 504, 520] {
        for (method, part) in [
            ("GET", "/v2/"),
            ("HEAD", "/blobs/"),
            ("POST", "/uploads/"),
            ("PUT", "/blobs/"),
            ("PUT", "/manifests/sha256:"),
            ("HEAD", "/manifests/"),
            ("PUT", "/manifests/1"),
        ] {
            let both =
                failing(1, method, part, move || Response::status(status).body("<html>Bad Gateway</html>"));
            push_one(&both).unwrap_or_else(|error| panic!("{status} {method} {part}: {error:?}"));
            assert_eq!(both.1.clock.pauses().len(), 1, "{status} {method} {part}");
        }
    }
}

#[test]
fn a_permanent_error_is_not_retried() {
    for status in [400, 403, 404, 409, 413, 501, 505, 507] {
        let both = failing(usize::MAX, "PUT", "/manifests/1", move || Response::status(status));
        push_one(&both).unwrap_err();
        assert_eq!((both.0.seen("PUT", "/manifests/1").len(), both.1.warned().len()), (1, 0), "{status}");
    }
}

#[test]
fn respects_both_forms_of_retry_after() {
    for after in ["100", "Thu, 01 Jan 1970 00:01:40 GMT"] {
        let both =
            failing(1, "PUT", "/manifests/1", move || Response::status(429).with("Retry-After", after));
        push_one(&both).unwrap();
        assert_eq!(both.1.clock.pauses(), [Duration::from_secs(100)], "{after}");
    }
}

#[test]
fn does_not_wait_for_a_retry_after_beyond_the_budget() {
    let both = failing(1, "PUT", "/manifests/1", || Response::status(429).with("Retry-After", "86400"));
    let error = push_one(&both).unwrap_err();
    assert!(matches!(error, RegistryError::Rejected { status: 429, .. }), "{error}");
    assert!(both.1.clock.pauses().is_empty());
}

#[test]
fn attempts_are_limited_and_reported() {
    let both = failing(usize::MAX, "PUT", "/manifests/1", || Response::status(503).body("down"));
    push_one(&both).unwrap_err();
    assert_eq!(both.0.seen("PUT", "/manifests/1").len(), 8);
    let (warned, pauses) = (both.1.warned(), both.1.clock.pauses());
    assert_eq!((warned.len(), pauses.len()), (7, 7));
    assert!(pauses[..6].windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
    let expected = ["move the tag `1`", "status 503", "down", "retrying in", "(attempt 2 of 8)"];
    assert!(expected.iter().all(|part| warned[0].contains(part)), "{warned:?}");
}

#[test]
fn the_retry_time_is_limited() {
    let both =
        failing(usize::MAX, "PUT", "/manifests/1", || Response::status(503).with("Retry-After", "120"));
    push_one(&both).unwrap_err();
    assert_eq!(both.0.seen("PUT", "/manifests/1").len(), 3);
}

#[test]
fn an_unreachable_host_has_fewer_attempts() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = TestClient::of(&port.to_string());
    let error = client.registry.resolve(&name(&format!("{port}/a:1"))).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert_eq!(client.clock.pauses().len(), 2);
}

fn with_short_tokens(uses: usize) -> (FakeRegistry, TestClient) {
    let server = with_tokens_for(uses);
    let client = TestClient::of(server.address());
    (server, client)
}

#[test]
fn replaces_an_expired_token_without_a_pause() {
    let both = with_short_tokens(3);
    push_one(&both).unwrap();
    assert!(both.0.seen("GET", "/token?").len() >= 3);
    assert!(both.1.clock.pauses().is_empty());
}

#[test]
fn a_new_token_that_is_rejected_is_final() {
    let both = with_short_tokens(0);
    let error = push_one(&both).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert_eq!(both.0.seen("GET", "/token?").len(), 2);
}
