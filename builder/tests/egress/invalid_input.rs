//! Invalid responses, recordings and requests.

use carafe_builder::egress::{BlockReason, EgressError, Method, Recording, Upstream};
use carafe_builder::net::Proxies;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;

use crate::support::{Action, ScriptedServer, TestProxy, respond, upstream};

/// Records one URL, which must fail: the status that the client gets, and the error at the end.
fn failure(upstream: Upstream, url: &str) -> (u16, String) {
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream);
    let got = proxy.get(url);
    assert!(got.text().contains("carafe"), "{}", got.text());
    let report = proxy.close();
    assert!(report.recording.is_empty());
    assert_eq!(bodies(cache.path()), 0);
    (got.status, report.complete().unwrap_err().to_string())
}

/// The number of bodies in the store.
fn bodies(cache: &std::path::Path) -> usize {
    std::fs::read_dir(cache.join("bodies-v1")).unwrap().count()
}

#[test]
fn rejects_a_different_body_for_a_recorded_response() {
    let (cache, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server =
        ScriptedServer::new(|request| respond(200, &[], request.earlier.min(1).to_string().as_bytes()));
    let proxy = TestProxy::recording(cache.path(), upstream());
    assert_eq!(proxy.get(&server.url("/a")).text(), "0");
    let recording = proxy.close().complete().unwrap();
    let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
    let got = proxy.get(&server.url("/a"));
    let (then, now) = (Digest::of(b"0"), Digest::of(b"1"));
    assert_eq!(got.status, 502);
    for part in [format!("the recording has {then} with status 200"), format!("the server now sends {now}")] {
        assert!(got.text().contains(&part), "{}", got.text());
    }
    let error = proxy.egress.explain_failure().unwrap().to_string();
    assert!(error.contains(&server.url("/a")) && error.contains(&then.to_string()), "{error}");
}

#[test]
fn rejects_a_recording_with_a_wrong_digest_or_size() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|_| respond(200, &[], b"right"));
    let proxy = TestProxy::recording(cache.path(), upstream());
    let url = server.url("/a");
    assert_eq!(proxy.get(&url).text(), "right");
    let text = String::from_utf8(proxy.close().complete().unwrap().to_bytes()).unwrap();
    let right = Digest::of(b"right").to_string();
    let edits = [
        (text.replace(&right, &Digest::of(b"wrong").to_string()), "the recording has sha256:"),
        (text.replace("\"size\":5", "\"size\":4"), "the recorded size is 4 bytes"),
    ];
    for (edited, reason) in edits {
        let recording = Recording::parse(edited.as_bytes()).unwrap();
        let got = TestProxy::replaying(cache.path(), upstream(), &recording).get(&url);
        assert_eq!(got.status, 502);
        assert!(got.text().contains(reason), "{}", got.text());
    }
}

#[test]
fn a_truncated_body_is_retried_and_then_an_error() {
    let server = ScriptedServer::new(|_| {
        vec![Action::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".to_vec()), Action::Close]
    });
    let (status, error) = failure(upstream(), &server.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains(&format!("GET {}: the body was truncated", server.url("/a"))), "{error}");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn rejects_an_error_page_in_place_of_a_file_or_repository() {
    let page = |path: &'static str, accept: &'static str| {
        let server =
            ScriptedServer::new(|_| respond(200, &[("Content-Type", "text/html")], b"<h1>Maintenance</h1>"));
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::recording(cache.path(), upstream());
        let got = proxy.curl(&["--header", &format!("Accept: {accept}"), &server.url(path)]);
        let error = proxy.close().complete().err().map(|error| error.to_string());
        (got.status, error.unwrap_or_default())
    };
    for (path, accept, reason) in [
        ("/a-1.0-py3-none-any.whl", "*/*", "expected a .whl file, got an HTML page (HTTP 200)"),
        ("/a/-/a-1.0.tgz?x=y", "*/*", "expected a .tgz file, got an HTML page"),
        ("/simple/a/", "application/vnd.pypi.simple.v1+json", "expected the requested content type"),
        ("/a.git/info/refs?service=git-upload-pack", "*/*", "expected a git repository, got an HTML page"),
    ] {
        let (status, error) = page(path, accept);
        assert_eq!(status, 502, "{path}");
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(page("/simple/a/", "text/html").0, 200);
}

#[test]
fn rejects_an_untrusted_certificate_without_retries() {
    let server = ScriptedServer::tls(|_| respond(200, &[], b"x"));
    let without_ca = Upstream { authorities: Vec::new(), ..upstream() };
    let (status, error) = failure(without_ca, &server.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains("the server's certificate is not trusted: UnknownIssuer"), "{error}");
    // The certificate is for 127.0.0.1 only.
    let url = server.url("/a").replace("127.0.0.1", "localhost");
    let (_, error) = failure(upstream(), &url);
    assert!(error.contains("the server's certificate is not trusted"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn blocks_a_private_address_directly_by_name_and_after_a_redirect() {
    let server = ScriptedServer::new(|_| respond(200, &[], b"secret"));
    let port = server.port;
    let redirecting = ScriptedServer::new(move |_| {
        respond(302, &[("Location", &format!("http://127.0.0.1:{port}/secret"))], b"")
    });
    let named = format!("127.0.0.1:{}", redirecting.port);
    let upstream = || Upstream { private_hosts: [named.clone()].into(), ..upstream() };
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    let got = proxy.curl(&["--location", &redirecting.url("/")]);
    assert_eq!(got.status, 403);
    let url = format!("http://127.0.0.1:{port}/secret");
    assert!(got.text().starts_with(&format!("carafe blocked GET {url}: 127.0.0.1 is a private address")));
    for host in ["localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"] {
        assert_eq!(proxy.get(&format!("http://{host}:{port}/secret")).status, 403, "{host}");
    }
    // A name that resolves to a private address: that of this machine.
    let own = String::from_utf8(proxy.run("hostname", &[]).stdout).unwrap();
    let resolves = std::net::ToSocketAddrs::to_socket_addrs(&(own.trim(), port));
    if resolves.is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback())) {
        let got = proxy.get(&format!("http://{}:{port}/secret", own.trim()));
        assert_eq!(got.status, 403, "{}", got.text());
    }
    let report = proxy.close();
    assert!(
        report.blocked.iter().all(|request| matches!(request.reason, BlockReason::PrivateAddress { .. }))
    );
    assert!(server.requests().is_empty());
    // The recording is complete: a replay blocks the requests too.
    assert_eq!(report.complete().unwrap().entries().len(), 1);
}

#[test]
fn the_users_proxy_is_used_and_its_password_is_not_shown() {
    let users_proxy = ScriptedServer::new(|request| match request.header("proxy-authorization") {
        Some("Basic bWU6aHVudGVyMjI=") if request.path == "http://pypi.example/a" => {
            respond(200, &[], b"via proxy")
        }
        _ => respond(407, &[], b""),
    });
    let proxies = Proxies::Fixed(Secret::new(users_proxy.url("/").replace("//", "//me:hunter22@")));
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(
        cache.path(),
        Upstream { proxies, private_hosts: Default::default(), ..upstream() },
    );
    assert_eq!(proxy.get("http://pypi.example/a").text(), "via proxy");
    // The build must not reach the user's proxy itself.
    assert_eq!(proxy.get(&users_proxy.url("/")).status, 403);
    let recording = String::from_utf8(proxy.close().complete().unwrap().to_bytes()).unwrap();
    assert!(!recording.contains("hunter22") && !recording.contains("127.0.0.1"), "{recording}");
}

#[test]
fn a_rejected_credential_is_an_error_and_not_shown() {
    let server = ScriptedServer::new(|_| respond(403, &[], b"no"));
    let mut upstream = upstream();
    let password = Secret::new("hunter22");
    let credential = carafe_builder::net::Credential::Basic { user: "me".to_owned(), password };
    upstream.credentials.insert("127.0.0.1".to_owned(), credential);
    let (status, error) = failure(upstream, &server.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains("rejected the credential") && !error.contains("hunter22"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn blocks_other_methods_pushes_and_large_bodies() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|_| respond(200, &[], b"x"));
    let proxy = TestProxy::recording(cache.path(), upstream());
    let url = server.url("/a");
    assert_eq!(proxy.curl(&["--request", "DELETE", &url]).status, 405);
    assert_eq!(proxy.curl(&["--request", "PUT", "--data", "x", &url]).status, 405);
    assert_eq!(proxy.curl(&["--data", "x", &server.url("/a.git/git-receive-pack")]).status, 405);
    let large = proxy.path("large");
    std::fs::write(&large, vec![0; (16 << 20) + 1]).unwrap();
    assert_eq!(proxy.curl(&["--data-binary", &format!("@{}", large.display()), &url]).status, 400);
    let direct = proxy.curl(&["--noproxy", "*", &format!("http://127.0.0.1:{}/a", proxy.port)]);
    assert_eq!(direct.status, 400);
    assert!(server.requests().is_empty());
}

#[test]
fn no_secret_is_recorded() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| match request.path.as_str() {
        "/leak" => respond(302, &[("Location", "/there?key=hunter22")], b""),
        _ => respond(200, &[], b"x"),
    });
    let mut upstream = upstream();
    let credential = carafe_builder::net::Credential::Bearer(Secret::new("hunter22"));
    upstream.credentials.insert("other.example".to_owned(), credential);
    let proxy = TestProxy::recording(cache.path(), upstream);
    let got = proxy.get(&server.url("/a?token=hunter22"));
    assert_eq!(got.status, 400);
    assert!(!got.text().contains("hunter22"), "{}", got.text());
    assert_eq!(proxy.get(&server.url("/leak")).status, 502);
    // A credential of the client is sent upstream, and recorded as `present`.
    let url = server.url("/a").replace("//", "//you:swordfish@");
    assert_eq!(proxy.get(&url).status, 200);
    assert!(server.requests()[1].header("authorization").is_some());
    let report = proxy.close();
    assert!(!format!("{:?} {:?}", report.blocked, report.failed).contains("hunter22"));
    assert_eq!(report.failed[0].reason, "a header of the response contains one of your secrets");
    let recording = report.recording;
    let (request, _) = recording.entries().next().unwrap();
    assert_eq!((request.method, request.headers["authorization"].as_str()), (Method::Get, "present"));
    assert!(!String::from_utf8(recording.to_bytes()).unwrap().contains("swordfish"));
}

#[test]
fn a_long_retry_after_ends_the_attempts() {
    let server = ScriptedServer::new(|request| match request.earlier {
        0 => respond(429, &[("Retry-After", "0")], b""),
        1 => respond(503, &[("Retry-After", "3600")], b""),
        _ => respond(200, &[], b"x"),
    });
    let (_, error) = failure(upstream(), &server.url("/a"));
    assert!(error.contains("503") && error.contains("requested a pause of 3600 s"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_failure_that_a_later_request_repairs_is_not_reported() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| match request.earlier {
        0..3 => respond(500, &[], b""),
        _ => respond(200, &[], b"x"),
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    assert_eq!(proxy.get(&server.url("/a")).status, 502);
    assert!(matches!(proxy.egress.explain_failure(), Some(EgressError::Fetch { .. })));
    assert_eq!(proxy.get(&server.url("/a")).text(), "x");
    let report = proxy.close();
    assert_eq!(report.retries, 2);
    assert_eq!(report.complete().unwrap().entries().len(), 1);
}
