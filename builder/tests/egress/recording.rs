//! What is requested, stored and recorded.

use carafe_builder::egress::{Mode, Update, UpdateSelector};
use carafe_builder::net::{Credential, Mirror};
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;

use crate::support::{Action, ReceivedRequest, ScriptedServer, TestProxy, respond, upstream};

/// A server whose responses have headers that differ each time.
fn varying(request: &ReceivedRequest) -> Vec<Action> {
    let date = format!("Sat, 21 Nov 2026 10:00:{:02} GMT", request.earlier);
    let tag = format!("\"{}\"", request.earlier);
    let headers = [
        ("Content-Type", "text/plain"),
        ("Date", &date),
        ("ETag", &tag),
        ("Set-Cookie", "id=1"),
        ("X-Request-Id", &tag),
    ];
    respond(200, &headers, format!("hello {}", request.path).as_bytes())
}

#[test]
fn http_and_https_are_recorded_with_a_constant_date() {
    let cache = tempfile::tempdir().unwrap();
    let (plain, tls) = (ScriptedServer::new(varying), ScriptedServer::tls(varying));
    let proxy = TestProxy::recording(cache.path(), upstream());
    for url in [plain.url("/a?b=c"), tls.url("/a?b=c")] {
        let got = proxy.get(&url);
        assert_eq!((got.status, got.text()), (200, "hello /a?b=c".to_owned()), "{}", got.head);
        assert_eq!(got.header("date").unwrap(), "Wed, 01 Jan 2020 00:00:00 GMT");
        assert_eq!(got.header("etag").unwrap(), format!("\"{}\"", Digest::of(b"hello /a?b=c")));
        assert!(got.header("set-cookie").is_none());
    }
    let recording = proxy.close().complete().unwrap();
    let text = String::from_utf8(recording.to_bytes()).unwrap();
    let (digest, size) = (Digest::of(b"hello /a?b=c"), 12);
    let entry = |url: &str| {
        format!(
            r#"{{"request":{{"url":"{url}","method":"GET"}},"response":{{"status":200,"headers":{{"content-type":"text/plain"}},"body":"{digest}","size":{size}}}}}"#
        )
    };
    let lines = [r#"{"carafe-record":1}"#, &entry(&plain.url("/a?b=c")), &entry(&tls.url("/a?b=c")), ""];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn recordings_do_not_depend_on_the_order_of_requests() {
    let server = ScriptedServer::tls(varying);
    let urls: Vec<_> = (0..40).map(|number| server.url(&format!("/{number}"))).collect();
    let record = |urls: Vec<&String>| {
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::recording(cache.path(), upstream());
        std::thread::scope(|scope| {
            for part in urls.chunks(10) {
                scope.spawn(|| part.iter().for_each(|url| assert_eq!(proxy.get(url).status, 200)));
            }
        });
        proxy.close().complete().unwrap().to_bytes()
    };
    assert_eq!(record(urls.iter().collect()), record(urls.iter().rev().collect()));
}

#[test]
fn concurrent_equal_requests_are_fetched_once() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| {
        let number = request.earlier.to_string();
        let mut actions = vec![Action::Pause(std::time::Duration::from_millis(100))];
        actions.extend(respond(200, &[], number.as_bytes()));
        actions
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(proxy.get(&server.url("/same")).text(), "0"));
        }
    });
    assert_eq!(proxy.get(&server.url("/same")).text(), "0");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn ranges_head_and_conditions_are_served_from_one_complete_body() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| {
        assert_eq!((request.method.as_str(), request.header("range")), ("GET", None));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        respond(200, &[], b"0123456789")
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    let url = server.url("/file");
    let part = |range: &str| {
        let got = proxy.curl(&["--range", range, &url]);
        (got.status, got.text(), got.header("content-range").unwrap_or_default())
    };
    let expect = |status, text: &str, range: &str| (status, text.to_owned(), range.to_owned());
    assert_eq!(part("2-4"), expect(206, "234", "bytes 2-4/10"));
    assert_eq!(part("7-"), expect(206, "789", "bytes 7-9/10"));
    assert_eq!(part("-3"), expect(206, "789", "bytes 7-9/10"));
    assert_eq!(part("8-100"), expect(206, "89", "bytes 8-9/10"));
    assert_eq!(part("10-"), expect(416, "", "bytes */10"));
    assert_eq!(part("0-1,4-5"), expect(200, "0123456789", ""));
    let head = proxy.curl(&["--head", &url]);
    assert_eq!((head.status, head.header("content-length").unwrap()), (200, "10".to_owned()));
    let tag = head.header("etag").unwrap();
    let same = proxy.curl(&["--header", &format!("If-None-Match: {tag}"), &url]);
    assert_eq!((same.status, same.text()), (304, String::new()));
    let other = proxy.curl(&["--range", "2-4", "--header", "If-Range: \"x\"", &url]);
    assert_eq!((other.status, other.text()), (200, "0123456789".to_owned()));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(proxy.close().recording.entries().len(), 1);
}

#[test]
fn headers_that_select_a_response_are_part_of_the_request() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| {
        let accept = request.header("accept").unwrap().to_owned();
        let body = String::from_utf8(request.body.clone()).unwrap();
        respond(200, &[], format!("{} {accept} {body}", request.method).as_bytes())
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    let url = server.url("/");
    assert_eq!(proxy.get(&url).text(), "GET */* ");
    assert_eq!(proxy.curl(&["--header", "Accept: a/b", &url]).text(), "GET a/b ");
    assert_eq!(proxy.curl(&["--data", "x=1", &url]).text(), "POST */* x=1");
    assert_eq!(proxy.curl(&["--data", "x=2", &url]).text(), "POST */* x=2");
    // Other headers do not determine the response.
    assert_eq!(proxy.curl(&["--header", "X-Session: 1", "--user-agent", "x", &url]).text(), "GET */* ");
    assert_eq!(proxy.close().complete().unwrap().entries().len(), 4);
}

#[test]
fn records_redirects_404s_and_encoded_bodies() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| match request.path.as_str() {
        "/from" => respond(302, &[("Location", "/to")], b""),
        "/to" => respond(200, &[("Content-Encoding", "gzip")], b"\x1f\x8b not really"),
        _ => respond(404, &[], b"not found"),
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    let got = proxy.curl(&["--location", &server.url("/from")]);
    assert_eq!((got.status, got.body.as_slice()), (200, &b"\x1f\x8b not really"[..]));
    assert_eq!(got.header("content-encoding").unwrap(), "gzip");
    assert_eq!(proxy.get(&server.url("/none")).status, 404);
    let recording = proxy.close().complete().unwrap();
    let statuses: Vec<_> = recording.entries().map(|(_, response)| response.status).collect();
    assert_eq!(statuses, [302, 404, 200]);
}

#[test]
fn mirrors_and_credentials_are_not_recorded() {
    const TOKEN: &str = "hunter22hunter22";
    let mirror = ScriptedServer::tls(|request| match request.header("authorization") {
        Some("Bearer hunter22hunter22") if request.path == "/npm/a" => {
            respond(302, &[("Location", "/npm/b?c")], b"")
        }
        Some("Bearer hunter22hunter22") => respond(200, &[], request.path.as_bytes()),
        _ => respond(401, &[], b"unauthorized"),
    });
    let cache = tempfile::tempdir().unwrap();
    let mut upstream = upstream();
    upstream.private_hosts.clear();
    upstream.mirrors.push(Mirror::new("https://registry.example/", &mirror.url("/npm/")).unwrap());
    let credential = Credential::Bearer(Secret::new(TOKEN));
    upstream.credentials.insert(format!("127.0.0.1:{}", mirror.port), credential);
    let proxy = TestProxy::recording(cache.path(), upstream);
    let got = proxy.curl(&["--location", "https://registry.example/a"]);
    assert_eq!(got.text(), "/npm/b?c");
    let recording = String::from_utf8(proxy.close().complete().unwrap().to_bytes()).unwrap();
    assert!(recording.contains(r#""location":"https://registry.example/b?c""#), "{recording}");
    assert!(
        !recording.contains("127.0.0.1")
            && !recording.contains(TOKEN)
            && !recording.contains("authorization")
    );
}

#[test]
fn the_signature_of_a_presigned_url_is_not_recorded() {
    let server = ScriptedServer::new(|request| match request.path.as_str() {
        "/release" => {
            let location =
                format!("/object?id=1&X-Amz-Expires=300&X-Amz-Signature=s1gnature{}", request.earlier);
            respond(302, &[("Location", &location)], b"")
        }
        path if path.contains("s1gnature") => respond(200, &[], b"the object"),
        _ => respond(403, &[], b"not signed"),
    });
    let record = || {
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::recording(cache.path(), upstream());
        assert_eq!(proxy.curl(&["--location", &server.url("/release")]).text(), "the object");
        String::from_utf8(proxy.close().complete().unwrap().to_bytes()).unwrap()
    };
    let first = record();
    assert!(!first.contains("s1gnature") && first.contains("/object?id=1\""), "{first}");
    assert_eq!(first, record());
}

#[test]
fn an_update_fetches_the_selected_responses_and_reports_changes() {
    let server = ScriptedServer::new(|request| {
        respond(200, &[], format!("{} {}", request.path, request.header("x").unwrap_or_default()).as_bytes())
    });
    let changed =
        ScriptedServer::new(|request| respond(200, &[], format!("new {}", request.path).as_bytes()));
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    let urls = ["/simple/one/", "/simple/two/"].map(|path| server.url(path));
    urls.iter().for_each(|url| assert_eq!(proxy.get(url).status, 200));
    let first = proxy.close().complete().unwrap();

    let mut upstream = upstream();
    upstream.mirrors.push(Mirror::new(&server.url("/"), &changed.url("/")).unwrap());
    let update = Update::Only(vec![UpdateSelector::new("Two")]);
    let mode = Mode::Record { previous: Some(first.clone()), update };
    let proxy = TestProxy::open(cache.path(), upstream, mode);
    let texts: Vec<_> = urls.iter().map(|url| proxy.get(url).text()).collect();
    assert_eq!(texts, ["/simple/one/ ", "new /simple/two/"]);
    let report = proxy.close();
    let changes: Vec<_> = report.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, [format!("changed: GET {}", urls[1])]);
    assert_eq!(report.complete().unwrap().entries().len(), 2);
}

#[test]
fn concurrent_builds_share_the_store() {
    let server = ScriptedServer::new(|request| respond(200, &[], request.path.repeat(5000).as_bytes()));
    let cache = tempfile::tempdir().unwrap();
    let record = || {
        let proxy = TestProxy::recording(cache.path(), upstream());
        for number in 0..20 {
            let path = format!("/{number}");
            assert_eq!(proxy.get(&server.url(&path)).text(), path.repeat(5000));
        }
        proxy.close().complete().unwrap().digest()
    };
    let digests = std::thread::scope(|scope| {
        let runs = [scope.spawn(record), scope.spawn(record)];
        runs.map(|run| run.join().unwrap())
    });
    assert_eq!(digests[0], digests[1]);
}
