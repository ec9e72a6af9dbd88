//! Token servers: scopes, lifetimes, robot accounts, identity tokens, and faults.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carafe::registry::{MountCandidates, Registry, RegistryOptions};
use carafe_builder::net::Credential;
use carafe_builder::progress::Progress;
use carafe_builder::secret::Secret;

use crate::faulty::{FakeRegistry, Fault, Response};
use crate::harbor::{Harbor, IDENTITY, LONG};
use crate::table::{
    Outcome, Script, check, error, every, faults, image, nth, options_for, page, retry_after,
};
use crate::{name, shown};

use Outcome::{Fails, Succeeds, TimesOut, Waits};

const TARGET: &str = "repository:erp/v15:pull,push";
const BASE: &str = "repository:base/debian:pull";

/// Pushes the image. The base image's repository is a mount candidate for its layer.
fn push(harbor: &Harbor, options: RegistryOptions, credential: Credential) -> Result<u64, String> {
    let server = &harbor.registry;
    let credentials = [(server.address().to_owned(), credential)].into();
    let registry = Registry::new(RegistryOptions { credentials, ..options }).unwrap();
    let (resolved, target) = (image().resolved(), name(&server.image("erp/v15:1")));
    let (mut candidates, layer) = (MountCandidates::default(), resolved.manifest.layers[0].digest);
    candidates.add(name(&server.image("base/debian")).repository(), [layer]);
    let pushed = registry.push(&resolved, image(), &[target], &candidates, &Progress::silent());
    pushed.map_err(shown)?;
    assert!(server.stored("1").is_some() && server.stored(&layer.to_string()).is_some());
    let sent = image().resolved().manifest.layers[0].size + resolved.manifest.config.size;
    Ok(server.received().saturating_sub(sent))
}

fn quiet(harbor: &Harbor) -> RegistryOptions {
    options_for(&harbor.registry, &Succeeds(0)).0
}

/// A registry that accepts only the newest token of its token server, and that one `uses` times.
pub fn with_tokens_for(uses: usize) -> FakeRegistry {
    let (given, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
    FakeRegistry::start(move |request| {
        if request.target.starts_with("/token?") {
            left.store(uses, Ordering::Relaxed);
            let token = given.fetch_add(1, Ordering::Relaxed) + 1;
            return Some(Response::status(200).body(format!(r#"{{"token":"t{token}","expires_in":300}}"#)));
        }
        let current = format!("Bearer t{}", given.load(Ordering::Relaxed));
        let is_current = request.headers.get("authorization") == Some(&current);
        let take = |left: usize| left.checked_sub(1);
        if is_current && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return None;
        }
        let challenge = format!(r#"Bearer realm="http://{}/token",service="s""#, request.headers["host"]);
        Some(Response::status(401).with("WWW-Authenticate", challenge))
    })
}

/// Pushes with a fault of the token server.
#[track_caller]
fn push_with_fault(fault: Script, outcome: Outcome) {
    let harbor = Harbor::start(&[TARGET, BASE], LONG, Duration::ZERO, fault);
    let (options, clock) = options_for(&harbor.registry, &outcome);
    check(&outcome, push(&harbor, options, Harbor::robot()), &clock);
}

faults! { TOKENS, push_with_fault;
    token_server_resets: nth(1, "GET", "/token", || Fault::Drop(0)) => Succeeds(0);
    token_server_stalls: nth(1, "GET", "/token", || Fault::Stall) => TimesOut(0);
    token_server_502_from_a_proxy: nth(1, "GET", "/token", || page(502)) => Succeeds(0);
    token_server_429_with_seconds: nth(1, "GET", "/token", || retry_after(429, "100")) => Waits(100, 0);
    token_server_503_with_a_date: nth(1, "GET", "/token", || retry_after(503, "Thu, 01 Jan 1970 00:01:40 GMT"))
        => Waits(100, 0);
    token_server_with_an_html_page: every("GET", "/token", || page(200)) => Fails(&["sent no valid token"]);
    token_not_valid_in_a_header: every("GET", "/token", || {
        Fault::Respond(Response::status(200).body(r#"{"token":"t0\nken"}"#))
    }) => Fails(&["sent no valid token"]);
    token_unknown_to_the_registry: every("GET", "/token", || {
        Fault::Respond(Response::status(200).body(r#"{"token":"forged","expires_in":300}"#))
    }) => Fails(&["requires other credentials", "repository:erp/v15:pull,push repository:base/debian:pull"]);
    token_request_rejected: every("GET", "/token", || error(401, "UNAUTHORIZED", "account locked"))
        => Fails(&["requires other credentials", "robot$erp+ci", "account locked"]);
    token_for_two_repositories_rejected: every("GET", "base%2Fdebian", || error(403, "DENIED", "not yours"))
        => Succeeds(0);
}

#[test]
fn one_token_has_both_scopes_of_a_robot_account() {
    let harbor = Harbor::start(&[TARGET, BASE], LONG, Duration::ZERO, |_| None);
    push(&harbor, quiet(&harbor), Harbor::robot()).unwrap();
    let requests = harbor.tokens.seen("GET", "/service/token?");
    assert_eq!(requests.len(), 1);
    let expected = "scope=repository%3Aerp%2Fv15%3Apull%2Cpush&scope=repository%3Abase%2Fdebian%3Apull";
    assert!(requests[0].target.contains(expected), "{}", requests[0].target);
    let mounts = harbor.registry.seen("POST", "mount=");
    assert!(mounts.len() == 1 && mounts[0].headers["authorization"] == "Bearer t0ken-1");
}

/// Harbor issues a token with the remaining scopes.
#[test]
fn sends_a_layer_if_the_token_does_not_cover_its_repository() {
    let harbor = Harbor::start(&[TARGET], LONG, Duration::ZERO, |_| None);
    push(&harbor, quiet(&harbor), Harbor::robot()).unwrap();
    // The second one in case that the first one has expired.
    assert_eq!(harbor.tokens.seen("GET", "/service/token?").len(), 2);
}

#[test]
fn shows_the_scope_that_a_read_only_account_lacks() {
    let harbor = Harbor::start(&["repository:erp/v15:pull"], LONG, Duration::ZERO, |_| None);
    let text = push(&harbor, quiet(&harbor), Harbor::robot()).unwrap_err();
    assert!(text.contains("unauthorized to access repository") && text.contains(TARGET), "{text}");
}

#[test]
fn a_push_outlasts_its_tokens() {
    let (two, delay) = (Duration::from_secs(2), Duration::from_millis(1200));
    let harbor = Harbor::start(&[TARGET, BASE], two, delay, |_| None);
    push(&harbor, quiet(&harbor), Harbor::robot()).unwrap();
    assert!(harbor.tokens.seen("GET", "/service/token?").len() > 1);
}

#[test]
fn exchanges_an_identity_token() {
    let harbor = Harbor::start(&[TARGET, BASE], LONG, Duration::ZERO, |_| None);
    push(&harbor, quiet(&harbor), Credential::IdentityToken(Secret::new(IDENTITY))).unwrap();
    assert_eq!(harbor.tokens.seen("POST", "/service/token").len(), 1);
    assert!(
        harbor
            .registry
            .seen("", "")
            .iter()
            .all(|request| { !format!("{:?}", request.headers).contains(IDENTITY) })
    );
}

#[test]
fn does_not_follow_a_redirect_of_the_token_server_to_another_origin() {
    let other = FakeRegistry::scripted(|_| None);
    let location = format!("http://{}/service/token", other.address());
    let harbor = Harbor::start(&[TARGET], LONG, Duration::ZERO, move |_| {
        Some(Fault::Respond(Response::status(307).with("Location", location.clone())))
    });
    for credential in [Credential::IdentityToken(Secret::new(IDENTITY)), Harbor::robot()] {
        let text = push(&harbor, quiet(&harbor), credential).unwrap_err();
        assert!(text.contains("status 307"), "{text}");
    }
    assert!(other.seen("", "").is_empty());
}
