//! Redirects to presigned URLs, in replays whose store has only some of their bodies.
//!
//! Nearly every redirect has an empty body, which the store has after the first redirect.

use std::path::{Path, PathBuf};

use carafe_builder::egress::{BlockReason, EgressReport, Mode, Recording, Update, UpdateSelector};
use carafe_layers::digest::Digest;

use crate::support::{ReceivedRequest, ScriptedServer, TestProxy, respond, upstream};

const KEY: &str = "X-Amz-Signature=s1gnature";

/// `/release/N` redirects to `/object/N`, and `/far/N` through `/hop/N`, with a different signature each
/// time, which `/hop/N` and `/object/N` require. `/page/N` redirects too, with a body that contains the
/// presigned URL.
fn storage() -> ScriptedServer {
    ScriptedServer::new(|request: &ReceivedRequest| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut parts = path.split('/').skip(1);
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_signed = query.starts_with(KEY);
        let redirect = |to: &str| {
            let location = format!("/{to}/{name}?{KEY}{}&X-Amz-Expires=300", request.earlier);
            respond(302, &[("Location", &location)], b"")
        };
        match (kind, is_signed) {
            ("release", _) | ("hop", true) => redirect("object"),
            ("far", _) => redirect("hop"),
            ("page", _) => {
                let location = format!("/object/{name}?{KEY}{}", request.earlier);
                let page = format!("<a href=\"{location}\">Found</a>");
                respond(302, &[("Location", &location)], page.as_bytes())
            }
            ("object", true) => respond(200, &[], format!("object {name}").as_bytes()),
            _ => respond(403, &[], b"not signed"),
        }
    })
}

fn follow(proxy: &TestProxy, server: &ScriptedServer, path: &str) -> String {
    proxy.curl(&["--location", &server.url(path)]).text()
}

fn record(cache: &Path, server: &ScriptedServer, paths: &[&str]) -> Recording {
    let proxy = TestProxy::recording(cache, upstream());
    paths.iter().for_each(|path| assert!(follow(&proxy, server, path).starts_with("object ")));
    let recording = proxy.close().complete().unwrap();
    assert!(!String::from_utf8(recording.to_bytes()).unwrap().contains("s1gnature"));
    recording
}

/// The paths of the upstream requests after the first `before`, without queries.
fn requested_paths(server: &ScriptedServer, before: usize) -> Vec<String> {
    let plain = |request: &ReceivedRequest| request.path.split('?').next().unwrap().to_owned();
    server.requests()[before..].iter().map(plain).collect()
}

/// A replay with an empty store: the body of each path, the upstream requests, the report.
fn replay(
    server: &ScriptedServer,
    recording: &Recording,
    paths: &[&str],
) -> (Vec<String>, Vec<String>, EgressReport) {
    let before = server.requests().len();
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(cache.path(), upstream(), recording);
    let texts = paths.iter().map(|path| follow(&proxy, server, path)).collect();
    (texts, requested_paths(server, before), proxy.close())
}

/// The path of this body in a store.
fn body_path(cache: &Path, text: &str) -> PathBuf {
    cache.join("bodies-v1").join(Digest::of(text.as_bytes()).hex())
}

#[test]
fn a_recorded_redirect_is_fetched_again_for_the_signature_of_its_target() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release/1", "/release/2"]);
    let twice = ["/release/1", "/release/2", "/release/2", "/release/1"];
    let (texts, requested, report) = replay(&server, &recording, &twice);
    assert_eq!(texts, ["object 1", "object 2", "object 2", "object 1"]);
    assert_eq!(requested, ["/release/1", "/object/1", "/release/2", "/object/2"]);
    assert_eq!((report.retries, report.failed.len()), (0, 0));
}

#[test]
fn each_redirect_of_a_chain_is_fetched_again() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let paths = ["/far/1", "/far/2"];
    let recording = record(cache.path(), &server, &paths);
    let (texts, requested, report) = replay(&server, &recording, &paths);
    assert_eq!(texts, ["object 1", "object 2"]);
    assert_eq!(requested, ["/far/1", "/hop/1", "/object/1", "/far/2", "/hop/2", "/object/2"]);
    assert_eq!((report.retries, report.failed.len()), (0, 0));
}

#[test]
fn a_body_with_the_signature_is_not_recorded() {
    let server = storage();
    let caches = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = caches.each_ref().map(|cache| record(cache.path(), &server, &["/page/1"]));
    assert_eq!(first, second);
    let sizes: Vec<_> = first.entries().map(|(_, response)| response.size).collect();
    assert_eq!(sizes, [8, 0]);
    assert_eq!(replay(&server, &first, &["/page/1"]).0, ["object 1"]);
}

#[test]
fn a_response_that_is_not_a_redirect_keeps_its_body() {
    let server = ScriptedServer::new(|request: &ReceivedRequest| {
        let status = request.path.trim_start_matches('/').parse().unwrap();
        respond(status, &[("Location", &format!("/object?{KEY}"))], b"a body")
    });
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    for status in [200, 201, 404] {
        let got = proxy.get(&server.url(&format!("/{status}")));
        assert_eq!((got.status, got.text()), (status, "a body".to_owned()));
    }
    let recording = proxy.close().complete().unwrap();
    assert!(!String::from_utf8(recording.to_bytes()).unwrap().contains("s1gnature"));
}

#[test]
fn a_target_is_fetched_once_for_many_requests() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release/0", "/release/1"]);
    let empty = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
    assert_eq!(follow(&proxy, &server, "/release/0"), "object 0");
    let before = server.requests().len();
    let (release, object) = (server.url("/release/1"), server.url("/object/1"));
    assert_eq!(proxy.curl(&["--head", &release]).status, 302);
    assert_eq!(proxy.curl(&["--head", &object]).header("content-length").unwrap(), "8");
    assert_eq!(proxy.curl(&["--range", "7-", &object]).text(), "1");
    assert_eq!(proxy.curl(&["--location", &release]).text(), "object 1");
    assert_eq!(requested_paths(&server, before), ["/release/1", "/object/1"]);
}

#[test]
fn a_redirect_is_fetched_again_once_for_many_clients() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release/0", "/release/1"]);
    // With its body in the store, and without.
    for earlier in [&["/release/0"][..], &[]] {
        let empty = tempfile::tempdir().unwrap();
        let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
        earlier.iter().for_each(|path| assert_eq!(follow(&proxy, &server, path), "object 0"));
        let before = server.requests().len();
        std::thread::scope(|scope| {
            let get = || proxy.get(&server.url("/release/1")).status;
            let clients = [(); 8].map(|()| scope.spawn(get));
            clients.into_iter().for_each(|client| assert_eq!(client.join().unwrap(), 302));
        });
        assert_eq!(requested_paths(&server, before), ["/release/1"]);
    }
}

#[test]
fn a_redirect_to_a_removed_target_is_fetched_again_once() {
    let server = ScriptedServer::new(|request: &ReceivedRequest| match request.path.as_str() {
        "/release" => respond(302, &[("Location", &format!("/object?{KEY}{}", request.earlier))], b""),
        path if path.ends_with("s1gnature0") => respond(200, &[], b"object 1"),
        _ => respond(404, &[], b"gone"),
    });
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release"]);
    std::fs::remove_file(body_path(cache.path(), "object 1")).unwrap();
    let proxy = TestProxy::replaying(cache.path(), upstream(), &recording);
    (0..3).for_each(|_| assert!(follow(&proxy, &server, "/release").contains("status 404")));
    let releases = server.requests().iter().filter(|request| request.path == "/release").count();
    assert_eq!(releases, 1 + 1);
}

#[test]
fn a_recording_with_a_wrong_size_does_not_affect_redirects_to_it() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release/1"]);
    let wrong = String::from_utf8(recording.to_bytes()).unwrap().replace("\"size\":8", "\"size\":9");
    let proxy = TestProxy::replaying(cache.path(), upstream(), &Recording::parse(wrong.as_bytes()).unwrap());
    assert_eq!(proxy.get(&server.url("/release/1")).status, 302);
}

#[test]
fn a_redirect_is_not_fetched_again_if_its_target_is_stored_or_offline() {
    let server = storage();
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/release/1"]);
    let before = server.requests().len();
    let proxy = TestProxy::replaying(cache.path(), upstream(), &recording);
    assert_eq!(follow(&proxy, &server, "/release/1"), "object 1");
    assert!(proxy.close().failed.is_empty());

    std::fs::remove_file(body_path(cache.path(), "object 1")).unwrap();
    let mut offline = upstream();
    offline.offline = true;
    let proxy = TestProxy::replaying(cache.path(), offline, &recording);
    follow(&proxy, &server, "/release/1");
    let blocked = proxy.close().blocked;
    assert!(matches!(&*blocked, [request] if matches!(request.reason, BlockReason::BodyMissing { .. })));
    assert_eq!(requested_paths(&server, before), [""; 0]);
}

#[test]
fn a_removed_redirect_is_no_error_while_its_target_exists() {
    let server =
        ScriptedServer::new(|request: &ReceivedRequest| match (request.path.as_str(), request.earlier) {
            ("/moved", 0) => respond(301, &[("Location", "/here")], b""),
            ("/here", _) => respond(200, &[], b"object 1"),
            _ => respond(404, &[], b"gone"),
        });
    let cache = tempfile::tempdir().unwrap();
    let recording = record(cache.path(), &server, &["/moved"]);
    std::fs::remove_file(body_path(cache.path(), "object 1")).unwrap();
    let proxy = TestProxy::replaying(cache.path(), upstream(), &recording);
    assert_eq!(follow(&proxy, &server, "/moved"), "object 1");
    assert_eq!(proxy.close().failed, []);
}

#[test]
fn a_recorded_redirect_to_a_refreshed_target_is_fetched_again() {
    let server = storage();
    let port = server.port;
    let front = ScriptedServer::new(move |request: &ReceivedRequest| {
        let location = format!("http://localhost:{port}/object/1?{KEY}{}", request.earlier);
        respond(302, &[("Location", &location)], b"")
    });
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    assert_eq!(follow(&proxy, &front, "/file"), "object 1");
    let previous = Some(proxy.close().complete().unwrap());

    let update = Update::Only(vec![UpdateSelector::new("localhost")]);
    let proxy =
        TestProxy::open(cache.path(), upstream(), Mode::Record { previous: previous.clone(), update });
    assert_eq!(follow(&proxy, &front, "/file"), "object 1");
    let report = proxy.close();
    assert_eq!(report.changes, []);
    assert_eq!(report.complete().ok(), previous);
}
