//! Replays with an empty body store, after the content of the servers has changed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use carafe_builder::egress::{EgressError, EgressReport, Recording, Upstream};
use carafe_builder::net::retry::RetryPolicy;
use carafe_layers::digest::Digest;

use crate::support::{
    Action, CurlResponse, ReceivedRequest, ScriptedServer, TestProxy, respond, test_retry_policy, upstream,
};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A Simple API response: its serial number, and files with their upload times.
fn project(serial: u32, files: &[(&str, &str)]) -> String {
    let file = |(name, time): &(&str, &str)| {
        format!(
            r#"{{"filename":"{name}","url":"https://files.example/{name}","hashes":{{"sha256":"00"}},
                "upload-time":"{time}","yanked":false,"provenance":null}}"#
        )
    };
    let files: Vec<_> = files.iter().map(file).collect();
    let meta = format!(r#"{{"_last-serial":{serial},"api-version":"1.4"}}"#);
    format!(r#"{{"files":[{}],"meta":{meta},"name":"lamp","versions":["{serial}"]}}"#, files.join(","))
}

const FIRST: (&str, &str) = ("lamp-1.0.zip", "2026-01-05T09:00:00.25Z");
const SECOND: (&str, &str) = ("lamp-1.1.zip", "2026-01-06T09:00:00Z");

fn json(text: &str) -> Vec<Action> {
    respond(200, &[("Content-Type", JSON)], text.as_bytes())
}

/// A server with a first response, and another one for all further requests.
fn changing(first: Vec<Action>, then: Vec<Action>) -> ScriptedServer {
    ScriptedServer::new(
        move |request: &ReceivedRequest| if request.earlier == 0 { first.clone() } else { then.clone() },
    )
}

fn fetch(proxy: &TestProxy, server: &ScriptedServer) -> CurlResponse {
    proxy.curl(&["--header", &format!("Accept: {JSON}"), &server.url("/simple/lamp/")])
}

fn record(server: &ScriptedServer) -> (CurlResponse, Recording) {
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    let got = fetch(&proxy, server);
    assert_eq!(got.status, 200, "{}", got.text());
    (got, proxy.close().complete().unwrap())
}

fn replay(server: &ScriptedServer, recording: &Recording) -> (CurlResponse, EgressReport) {
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(cache.path(), upstream(), recording);
    let got = fetch(&proxy, server);
    let report = proxy.close();
    let kept = std::fs::read_dir(cache.path().join("bodies-v1")).unwrap().count();
    assert_eq!(kept, usize::from(got.status == 200), "only recorded bodies are stored");
    (got, report)
}

/// The error of a replay that must fail, and its help text.
fn failure(server: &ScriptedServer, recording: &Recording) -> (String, String) {
    let (got, report) = replay(server, recording);
    assert_eq!(got.status, 502, "{}", got.text());
    let error = EgressError::Fetch { requests: report.failed };
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    (error.to_string(), help)
}

#[test]
fn a_simple_api_response_is_recorded_with_the_date_of_its_newest_file() {
    let server = changing(json(&project(1, &[FIRST])), json(&project(2, &[FIRST])));
    let (got, one) = record(&server);
    assert_eq!(got.header("last-modified").unwrap(), "Mon, 05 Jan 2026 09:00:01 GMT");
    let file = r#"{"filename":"lamp-1.0.zip","url":"https://files.example/lamp-1.0.zip","hashes":{"sha256":"00"},"upload-time":"2026-01-05T09:00:00.25Z","yanked":false}"#;
    let normalized = format!(r#"{{"meta":{{"api-version":"1.0"}},"name":"lamp","files":[{file}]}}"#);
    assert_eq!(got.text(), normalized);
    let (_, response) = one.entries().next().unwrap();
    assert_eq!((response.body, response.size), (Digest::of(normalized.as_bytes()), normalized.len() as u64));
    assert_eq!(record(&server).1.to_bytes(), one.to_bytes(), "only the serial number changed");
}

#[test]
fn files_that_were_uploaded_after_the_recording_are_dropped() {
    let then = project(1, &[FIRST]);
    let now = project(7, &[SECOND, FIRST]).replace("\"yanked\"", "\"new-key\":{},\"yanked\"");
    let server = changing(json(&then), json(&now));
    let (first, recording) = record(&server);
    let (second, report) = replay(&server, &recording);
    assert_eq!((second.head, second.body), (first.head, first.body));
    assert_eq!((report.retries, report.failed.len()), (0, 0));
}

#[test]
fn a_removed_or_yanked_file_is_an_error_with_help() {
    let yanked = project(2, &[FIRST, SECOND]).replacen("\"yanked\":false", "\"yanked\":\"broken\"", 1);
    for now in [project(2, &[SECOND]), yanked] {
        let server = changing(json(&project(1, &[FIRST, SECOND])), json(&now));
        let (_, recording) = record(&server);
        let (error, help) = failure(&server, &recording);
        let (_, response) = recording.entries().next().unwrap();
        let expected = format!(
            "GET {}: the recording has {} with status 200 ({} bytes), the server now sends sha256:",
            server.url("/simple/lamp/"),
            response.body,
            response.size
        );
        assert!(error.contains(&expected), "{error}");
        assert!(
            error.contains("without files that were uploaded after Tue, 06 Jan 2026 09:00:00 GMT"),
            "{error}"
        );
        assert!(error.ends_with("(3 attempts)"), "{error}");
        for advice in
            ["`carafe bundle`", "`carafe build --bundle`", "CARAFE_CACHE_DIR", "`--update=127.0.0.1`"]
        {
            assert!(help.contains(advice), "{advice} is not in {help}");
        }
        assert!(!help.contains("cannot be replayed"), "{help}");
    }
}

#[test]
fn a_temporary_difference_is_retried() {
    let right = json(&project(1, &[FIRST]));
    for wrong in [
        json(&project(1, &[SECOND])),
        respond(200, &[("Content-Type", "text/html")], b"<h1>Moved</h1>"),
        respond(404, &[], b"not here"),
    ] {
        let right = right.clone();
        let server = ScriptedServer::new(move |request: &ReceivedRequest| match request.earlier {
            1 => wrong.clone(),
            _ => right.clone(),
        });
        let (first, recording) = record(&server);
        let (second, report) = replay(&server, &recording);
        assert_eq!((second.status, second.body), (200, first.body));
        assert_eq!((report.retries, report.failed.len()), (1, 0));
    }
}

fn nine_attempts() -> Upstream {
    Upstream { retry_policy: RetryPolicy { max_attempts: 9, ..test_retry_policy() }, ..upstream() }
}

#[test]
fn a_changed_body_is_requested_three_times_and_never_again() {
    let server = changing(respond(200, &[], b"then"), respond(200, &[], b"now"));
    let (_, recording) = record(&server);
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(cache.path(), nine_attempts(), &recording);
    let first = fetch(&proxy, &server);
    assert!(first.status == 502 && first.text().ends_with("(3 attempts)\n"), "{}", first.text());
    for _ in 0..3 {
        let again = fetch(&proxy, &server);
        assert_eq!((again.status, again.text()), (502, first.text()));
    }
    assert_eq!(server.requests().len(), 1 + 3);
    assert_eq!(proxy.close().failed.len(), 1);
}

#[test]
fn a_transient_failure_is_retried_at_the_next_request_of_a_client() {
    let cut = b"HTTP/1.1 200 Fine\r\n\r\nth".to_vec();
    for wrong in [respond(403, &[], b"expired"), vec![Action::Send(cut), Action::Close]] {
        let server = ScriptedServer::new(move |request: &ReceivedRequest| match request.earlier {
            1..=3 => wrong.clone(),
            _ => respond(200, &[], b"then"),
        });
        let (_, recording) = record(&server);
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::replaying(cache.path(), nine_attempts(), &recording);
        let statuses = [(); 3].map(|()| fetch(&proxy, &server).status);
        assert_eq!(statuses, [502, 200, 200]);
        assert_eq!(server.requests().len(), 1 + 3 + 1);
        assert_eq!(proxy.close().failed, []);
    }
}

#[test]
fn a_missing_body_is_fetched_once_for_many_clients() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let server = ScriptedServer::new(move |request: &ReceivedRequest| {
        if request.path == "/object" && request.earlier > 0 {
            let _ = held.lock().unwrap().recv();
        }
        respond(200, &[], request.path.as_bytes())
    });
    let (object, other) = (server.url("/object"), server.url("/other"));
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    [&object, &other].iter().for_each(|url| assert_eq!(proxy.get(url).status, 200));
    let recording = proxy.close().complete().unwrap();

    let empty = tempfile::tempdir().unwrap();
    let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
    let request = format!("GET {object} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let clients = [(); 8].map(|()| {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client
    });
    // The response to this request shows that the earlier ones have been received.
    assert_eq!(proxy.get(&other).text(), "/other");
    drop(release);
    for mut client in clients {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("\r\n\r\n/object"), "{text}");
    }
    let requested = server.requests().iter().filter(|request| request.path == "/object").count();
    assert_eq!(requested, 1 + 1);
}

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=UTF-8");

#[test]
fn html_instead_of_the_preferred_json_is_requested_once_more() {
    let accept = format!("Accept: {JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01");
    let html = respond(200, &[HTML], b"<a>lamp</a>");
    for (then, expected, requests) in [
        (json(&project(1, &[FIRST])), "application/vnd.pypi.simple.v1+json", 2),
        (html.clone(), "text/html; charset=UTF-8", 2),
        (respond(503, &[], b""), "text/html; charset=UTF-8", 3),
    ] {
        let first = html.clone();
        let server = ScriptedServer::new(move |request: &ReceivedRequest| match request.earlier {
            1 => then.clone(),
            _ => first.clone(),
        });
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::recording(cache.path(), upstream());
        let got = proxy.curl(&["--header", &accept, &server.url("/simple/lamp/")]);
        assert_eq!((got.status, &*got.header("content-type").unwrap()), (200, expected));
        assert_eq!(server.requests().len(), requests);
        proxy.close().complete().unwrap();
    }
    let server = changing(html.clone(), html);
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    for header in ["Accept: text/html", &format!("Accept: {JSON}, text/html")] {
        assert_eq!(proxy.curl(&["--header", header, &server.url("/simple/lamp/")]).status, 200);
    }
    assert_eq!(server.requests().len(), 2, "these clients do not prefer JSON");
}

#[test]
fn a_different_content_type_is_reported() {
    let html = respond(200, &[("Content-Type", "text/html")], b"<h1>Moved</h1>");
    let server = changing(json(&project(1, &[FIRST])), html);
    let (_, recording) = record(&server);
    let (error, _) = failure(&server, &recording);
    assert!(error.contains(&format!("bytes of {JSON})")), "{error}");
    let now = format!("{} with status 200 (14 bytes of text/html)", Digest::of(b"<h1>Moved</h1>"));
    assert!(error.contains(&now), "{error}");
}

#[test]
fn other_responses_are_compared_unchanged() {
    let html = |text: &str| respond(200, &[("Content-Type", "text/html")], text.as_bytes());
    let whole = project(1, &[FIRST]);
    let timeless = |serial: u32| project(serial, &[FIRST]).replace("upload-time", "uploaded");
    for (then, now, is_same) in [
        (html("<a>1</a> "), html("<a>1</a> "), true),
        (html("<a>1</a>"), html("<a>1</a><a>2</a>"), false),
        (json(&timeless(1)), json(&timeless(1)), true),
        (json(&timeless(1)), json(&timeless(2)), false),
        (respond(200, &[("Content-Type", "application/json")], whole.as_bytes()), json(&whole), true),
    ] {
        let Action::Send(sent) = &then[0] else { panic!("a response is one action") };
        let server = changing(then.clone(), now);
        let cache = tempfile::tempdir().unwrap();
        let proxy = TestProxy::recording(cache.path(), upstream());
        let got = proxy.get(&server.url("/simple/lamp/"));
        assert!(sent.ends_with(&got.body) && got.header("last-modified").is_none(), "{}", got.head);
        let recording = proxy.close().complete().unwrap();
        let empty = tempfile::tempdir().unwrap();
        let proxy = TestProxy::replaying(empty.path(), upstream(), &recording);
        let again = proxy.get(&server.url("/simple/lamp/"));
        assert_eq!(again.status == 200 && again.body == got.body, is_same, "{}", again.text());
    }
}

#[test]
fn an_unnormalized_recording_requires_the_unchanged_response() {
    let (then, now) = (project(1, &[FIRST]), project(1, &[FIRST, SECOND]));
    let server = changing(json(&then), json(&now));
    let entry = format!(
        r#"{{"request":{{"url":"{}","method":"GET","headers":{{"accept":"{JSON}"}}}},"response":{{"status":200,"headers":{{"content-type":"{JSON}"}},"body":"{}","size":{}}}}}"#,
        server.url("/simple/lamp/"),
        Digest::of(then.as_bytes()),
        then.len()
    );
    let recording = Recording::parse(format!("{{\"carafe-record\":1}}\n{entry}\n").as_bytes()).unwrap();
    assert_eq!(replay(&server, &recording).0.text(), then);
    assert_eq!(replay(&server, &recording).0.status, 502);
}

#[test]
fn a_recorded_body_without_a_length_is_received_once() {
    let mut endless = json(&project(1, &[FIRST]));
    let Action::Send(bytes) = &mut endless[0] else { panic!("a response is one action") };
    let text = String::from_utf8(bytes.clone()).unwrap().replace("Content-Length", "X-Length");
    let server = ScriptedServer::new(move |_| vec![Action::Send(text.clone().into_bytes()), Action::Close]);
    let (_, recording) = record(&server);
    assert_eq!(server.requests().len(), 2, "the digest was not known yet");
    assert_eq!(replay(&server, &recording).0.status, 200);
    assert_eq!(server.requests().len(), 3);
}
