//! Replays: recorded requests are served, all others are blocked and reported.

use std::net::UdpSocket;

use carafe_builder::egress::{BlockReason, EgressError, Mode, Recording, Update, UpdateSelector, Upstream};
use carafe_builder::net::Mirror;

use crate::support::{ScriptedServer, TestProxy, respond, upstream};

fn server() -> ScriptedServer {
    ScriptedServer::tls(|request| respond(200, &[("Content-Type", "text/plain")], request.path.as_bytes()))
}

fn record(cache: &std::path::Path, server: &ScriptedServer, paths: &[&str]) -> Recording {
    let proxy = TestProxy::recording(cache, upstream());
    for path in paths {
        assert_eq!(proxy.get(&server.url(path)).status, 200);
    }
    proxy.close().complete().unwrap()
}

fn offline() -> Upstream {
    Upstream { offline: true, ..upstream() }
}

#[test]
fn a_recorded_request_has_the_same_response_without_a_server() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let url = server.url("/a");
    let recorder = TestProxy::recording(cache.path(), upstream());
    let first = recorder.get(&url);
    let recording = recorder.close().complete().unwrap();
    let replayer = TestProxy::replaying(cache.path(), offline(), &recording);
    let second = replayer.get(&url);
    // Including all headers, and their date.
    assert_eq!((first.head, first.body), (second.head, second.body));
    let report = replayer.close();
    assert_eq!((report.recording, report.bytes_fetched), (recording, 0));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_unrecorded_request_is_blocked_and_reported_with_its_process() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let recording = record(cache.path(), &server, &["/a"]);
    let proxy = TestProxy::replaying(cache.path(), upstream(), &recording);
    let url = server.url("/b?token");
    let got = proxy.curl(&["--data", "x", &url]);
    assert_eq!(got.status, 403);
    assert!(
        got.text().starts_with(&format!("carafe blocked POST {url}: the recording has no response for it"))
    );
    let error = proxy.egress.explain_failure().unwrap();
    let Some(EgressError::Blocked { requests }) = Some(&error) else { panic!("{error}") };
    let blocked = &requests[0];
    let peer = blocked.peer.as_ref().unwrap();
    assert!(peer.command.starts_with("curl --silent"), "{}", peer.command);
    assert!(peer.pid > 0);
    assert_eq!((blocked.method.as_str(), blocked.url.as_str()), ("POST", url.as_str()));
    assert_eq!(blocked.reason, BlockReason::NotRecorded);
    let text = error.to_string();
    assert!(
        text.contains(&format!("\n  POST {url}: the recording has no response for it; sent by `curl")),
        "{text}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_missing_body_is_fetched_again_unless_offline() {
    let (cache, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = server();
    let recording = record(cache.path(), &server, &["/a"]);
    let url = server.url("/a");
    let proxy = TestProxy::replaying(empty.path(), offline(), &recording);
    let got = proxy.get(&url);
    assert_eq!(got.status, 504);
    assert!(got.text().contains("its body sha256:") && got.text().contains("--bundle"), "{}", got.text());
    assert_eq!(server.requests().len(), 1);
    drop(proxy);
    let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
    assert_eq!(proxy.get(&url).text(), "/a");
    assert_eq!(server.requests().len(), 2);
    drop(proxy);
    assert_eq!(TestProxy::replaying(empty.path(), offline(), &recording).get(&url).text(), "/a");
}

#[test]
fn an_offline_update_sends_no_request() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let recording = record(cache.path(), &server, &["/a"]);
    let update = Update::Only(vec![UpdateSelector::new("nothing")]);
    let proxy = TestProxy::open(cache.path(), offline(), Mode::Record { previous: Some(recording), update });
    assert_eq!(proxy.get(&server.url("/a")).status, 200);
    assert_eq!(proxy.get(&server.url("/b")).status, 403);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_refused_host_gets_a_404_also_in_replays() {
    let (cache, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = server();
    let refusing = Upstream { refused_hosts: ["raw.refused.test".to_owned()].into(), ..upstream() };
    let recorder = TestProxy::recording(cache.path(), refusing);
    let url = "https://raw.refused.test/crew/shade/pyproject.toml";
    let first = recorder.get(url);
    assert_eq!(
        (first.status, first.header("content-type").as_deref()),
        (404, Some("text/plain; charset=utf-8"))
    );
    assert!(first.text().contains("`refused-hosts`"), "{}", first.text());
    assert_eq!(recorder.curl(&["--data", "x", "http://raw.refused.test:8080/"]).status, 404);
    let git = recorder.run("git", &["ls-remote", "https://raw.refused.test/crew/shade.git"]);
    let stderr = String::from_utf8_lossy(&git.stderr).into_owned();
    assert!(!git.status.success() && stderr.contains("not found"), "{stderr}");
    assert_eq!(recorder.get(&server.url("/a")).status, 200);
    let report = recorder.close();
    assert_eq!((report.bytes_fetched, report.retries), (2, 0));
    let recording = report.complete().unwrap();

    // Without the store and without the spec.
    let replayer = TestProxy::replaying(elsewhere.path(), offline(), &recording);
    let second = replayer.get(url);
    assert_eq!((first.head, first.body), (second.head, second.body));
    assert!(replayer.close().blocked.is_empty());
}

#[test]
fn a_recorded_response_of_a_refused_host_is_kept_until_it_is_refreshed() {
    let cache = tempfile::tempdir().unwrap();
    let server = server();
    let url = "https://raw.refused.test/a";
    let mirror = Mirror::new("https://raw.refused.test/", &server.url("/")).unwrap();
    let recorder = TestProxy::recording(cache.path(), Upstream { mirrors: vec![mirror], ..upstream() });
    assert_eq!(recorder.get(url).status, 200);
    let recording = recorder.close().complete().unwrap();
    let refusing = || Upstream { refused_hosts: ["raw.refused.test".to_owned()].into(), ..upstream() };
    assert_eq!(TestProxy::replaying(cache.path(), refusing(), &recording).get(url).status, 200);
    let only = |selector| Mode::Record {
        previous: Some(recording.clone()),
        update: Update::Only(vec![UpdateSelector::new(selector)]),
    };
    for (selector, status) in [("pypi.org", 200), ("raw.refused.test", 404)] {
        assert_eq!(TestProxy::open(cache.path(), refusing(), only(selector)).get(url).status, status);
    }
}

#[test]
fn a_dns_query_is_denied_and_reported() {
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(cache.path(), offline(), &Recording::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04pypi\x03org\x00\x00\x01\x00\x01";
    socket.send_to(query, ("127.0.0.1", proxy.dns_port)).unwrap();
    let mut response = [0; 512];
    let length = socket.recv(&mut response).unwrap();
    assert_eq!(response[3] & 0xf, 3, "{:?}", &response[..length]);
    let blocked = proxy.close().blocked;
    assert_eq!((blocked[0].url.as_str(), &blocked[0].reason), ("pypi.org", &BlockReason::Bypass));
    assert_eq!(blocked[0].peer.as_ref().unwrap().pid, std::process::id());
}
