//! A record on a machine that has none of its bodies, while the servers have moved on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use carafe_builder::egress::{EgressError, EgressReport, Recording, Upstream};
use carafe_builder::net::retry::RetryPolicy;
use carafe_layers::digest::Digest;

use crate::support::{Act, Asked, Got, Inside, Standin, answer, impatient, upstream};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// An index's page: its serial number, and files with the times they came at.
fn page(serial: u32, files: &[(&str, &str)]) -> String {
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

fn json(text: &str) -> Vec<Act> {
    answer(200, &[("Content-Type", JSON)], text.as_bytes())
}

/// A server that answers as told: what it says to its first request, and to all others.
fn moving(first: Vec<Act>, then: Vec<Act>) -> Standin {
    Standin::new(move |asked: &Asked| if asked.before == 0 { first.clone() } else { then.clone() })
}

fn ask(inside: &Inside, standin: &Standin) -> Got {
    inside.curl(&["--header", &format!("Accept: {JSON}"), &standin.url("/simple/lamp/")])
}

fn record(standin: &Standin) -> (Got, Recording) {
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    let got = ask(&inside, standin);
    assert_eq!(got.status, 200, "{}", got.text());
    (got, inside.close().complete().unwrap())
}

fn replay(standin: &Standin, record: &Recording) -> (Got, EgressReport) {
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(cache.path(), upstream(), record);
    let got = ask(&inside, standin);
    let passed = inside.close();
    let kept = std::fs::read_dir(cache.path().join("bodies-v1")).unwrap().count();
    assert_eq!(kept, usize::from(got.status == 200), "only what the record has is kept");
    (got, passed)
}

/// The error of a replay that must fail, with what to do.
fn failure(standin: &Standin, record: &Recording) -> (String, String) {
    let (got, passed) = replay(standin, record);
    assert_eq!(got.status, 502, "{}", got.text());
    let error = EgressError::Failed { failures: passed.failures };
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    (error.to_string(), help)
}

#[test]
fn an_indexs_page_is_recorded_as_of_its_newest_file() {
    let standin = moving(json(&page(1, &[FIRST])), json(&page(2, &[FIRST])));
    let (got, one) = record(&standin);
    assert_eq!(got.header("last-modified").unwrap(), "Mon, 05 Jan 2026 09:00:01 GMT");
    let file = r#"{"filename":"lamp-1.0.zip","url":"https://files.example/lamp-1.0.zip","hashes":{"sha256":"00"},"upload-time":"2026-01-05T09:00:00.25Z","yanked":false}"#;
    let lasting = format!(r#"{{"meta":{{"api-version":"1.0"}},"name":"lamp","files":[{file}]}}"#);
    assert_eq!(got.text(), lasting);
    let (_, answer) = one.entries().next().unwrap();
    assert_eq!((answer.body, answer.size), (Digest::of(lasting.as_bytes()), lasting.len() as u64));
    assert_eq!(record(&standin).1.to_bytes(), one.to_bytes(), "only the serial number moved");
}

#[test]
fn a_page_to_which_releases_were_added_is_cut_to_what_was_recorded() {
    let then = page(1, &[FIRST]);
    let now = page(7, &[SECOND, FIRST]).replace("\"yanked\"", "\"new-key\":{},\"yanked\"");
    let standin = moving(json(&then), json(&now));
    let (first, record) = record(&standin);
    let (second, passed) = replay(&standin, &record);
    assert_eq!((second.head, second.body), (first.head, first.body));
    assert_eq!((passed.tries_again, passed.failures.len()), (0, 0));
}

#[test]
fn a_page_without_a_file_or_with_a_withdrawn_one_is_a_failure_that_says_what_to_do() {
    let yanked = page(2, &[FIRST, SECOND]).replacen("\"yanked\":false", "\"yanked\":\"broken\"", 1);
    for now in [page(2, &[SECOND]), yanked] {
        let standin = moving(json(&page(1, &[FIRST, SECOND])), json(&now));
        let (_, record) = record(&standin);
        let (error, help) = failure(&standin, &record);
        let (_, answer) = record.entries().next().unwrap();
        let says = format!(
            "GET {}: the record has {} with status 200 ({} bytes), the server now sends sha256:",
            standin.url("/simple/lamp/"),
            answer.body,
            answer.size
        );
        assert!(error.contains(&says), "{error}");
        assert!(error.contains("without what was uploaded after Tue, 06 Jan 2026 09:00:00 GMT"), "{error}");
        assert!(error.ends_with("(3 attempts)"), "{error}");
        for advice in
            ["`carafe bundle`", "`carafe build --bundle`", "CARAFE_CACHE_DIR", "`--update=127.0.0.1`"]
        {
            assert!(help.contains(advice), "{advice} is not in {help}");
        }
        assert!(!help.contains("in no record"), "{help}");
    }
}

#[test]
fn a_replica_that_is_wrong_for_a_moment_is_asked_again() {
    let right = json(&page(1, &[FIRST]));
    for wrong in [
        json(&page(1, &[SECOND])),
        answer(200, &[("Content-Type", "text/html")], b"<h1>Moved</h1>"),
        answer(404, &[], b"not here"),
    ] {
        let right = right.clone();
        let standin = Standin::new(move |asked: &Asked| match asked.before {
            1 => wrong.clone(),
            _ => right.clone(),
        });
        let (first, record) = record(&standin);
        let (second, passed) = replay(&standin, &record);
        assert_eq!((second.status, second.body), (200, first.body));
        assert_eq!((passed.tries_again, passed.failures.len()), (1, 0));
    }
}

fn patient() -> Upstream {
    Upstream { retry_policy: RetryPolicy { max_attempts: 9, ..impatient() }, ..upstream() }
}

#[test]
fn another_body_is_asked_for_three_times_and_then_no_more() {
    let standin = moving(answer(200, &[], b"then"), answer(200, &[], b"now"));
    let (_, record) = record(&standin);
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(cache.path(), patient(), &record);
    let told = ask(&inside, &standin);
    assert!(told.status == 502 && told.text().ends_with("(3 attempts)\n"), "{}", told.text());
    for _ in 0..3 {
        let again = ask(&inside, &standin);
        assert_eq!((again.status, again.text()), (502, told.text()));
    }
    assert_eq!(standin.asked().len(), 1 + 3);
    assert_eq!(inside.close().failures.len(), 1);
}

#[test]
fn what_may_pass_is_asked_for_whenever_a_client_asks() {
    let cut = b"HTTP/1.1 200 Fine\r\n\r\nth".to_vec();
    for wrong in [answer(403, &[], b"expired"), vec![Act::Send(cut), Act::Close]] {
        let standin = Standin::new(move |asked: &Asked| match asked.before {
            1..=3 => wrong.clone(),
            _ => answer(200, &[], b"then"),
        });
        let (_, record) = record(&standin);
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::replaying(cache.path(), patient(), &record);
        let statuses = [(); 3].map(|()| ask(&inside, &standin).status);
        assert_eq!(statuses, [502, 200, 200]);
        assert_eq!(standin.asked().len(), 1 + 3 + 1);
        assert_eq!(inside.close().failures, []);
    }
}

#[test]
fn a_body_that_is_gone_is_fetched_once_for_many_clients() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let standin = Standin::new(move |asked: &Asked| {
        if asked.path == "/object" && asked.before > 0 {
            let _ = held.lock().unwrap().recv();
        }
        answer(200, &[], asked.path.as_bytes())
    });
    let (object, other) = (standin.url("/object"), standin.url("/other"));
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    [&object, &other].iter().for_each(|url| assert_eq!(inside.get(url).status, 200));
    let record = inside.close().complete().unwrap();

    let empty = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(empty.path(), upstream(), &record);
    let request = format!("GET {object} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let clients = [(); 8].map(|()| {
        let mut client = TcpStream::connect(("127.0.0.1", inside.port)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client
    });
    // When this one is answered, those before it have been read.
    assert_eq!(inside.get(&other).text(), "/other");
    drop(release);
    for mut client in clients {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("\r\n\r\n/object"), "{text}");
    }
    let asked = standin.asked().iter().filter(|asked| asked.path == "/object").count();
    assert_eq!(asked, 1 + 1);
}

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=UTF-8");

#[test]
fn a_page_that_comes_in_html_although_json_is_preferred_is_asked_for_once_more() {
    let accept = format!("Accept: {JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01");
    let html = answer(200, &[HTML], b"<a>lamp</a>");
    for (then, expected, requests) in [
        (json(&page(1, &[FIRST])), "application/vnd.pypi.simple.v1+json", 2),
        (html.clone(), "text/html; charset=UTF-8", 2),
        (answer(503, &[], b""), "text/html; charset=UTF-8", 3),
    ] {
        let first = html.clone();
        let standin = Standin::new(move |asked: &Asked| match asked.before {
            1 => then.clone(),
            _ => first.clone(),
        });
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::recording(cache.path(), upstream());
        let got = inside.curl(&["--header", &accept, &standin.url("/simple/lamp/")]);
        assert_eq!((got.status, &*got.header("content-type").unwrap()), (200, expected));
        assert_eq!(standin.asked().len(), requests);
        inside.close().complete().unwrap();
    }
    let standin = moving(html.clone(), html);
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    for header in ["Accept: text/html", &format!("Accept: {JSON}, text/html")] {
        assert_eq!(inside.curl(&["--header", header, &standin.url("/simple/lamp/")]).status, 200);
    }
    assert_eq!(standin.asked().len(), 2, "html is as good here");
}

#[test]
fn another_kind_of_answer_is_named() {
    let html = answer(200, &[("Content-Type", "text/html")], b"<h1>Moved</h1>");
    let standin = moving(json(&page(1, &[FIRST])), html);
    let (_, record) = record(&standin);
    let (error, _) = failure(&standin, &record);
    assert!(error.contains(&format!("bytes of {JSON})")), "{error}");
    let now = format!("{} with status 200 (14 bytes of text/html)", Digest::of(b"<h1>Moved</h1>"));
    assert!(error.contains(&now), "{error}");
}

#[test]
fn what_is_no_such_page_is_compared_as_it_is() {
    let html = |text: &str| answer(200, &[("Content-Type", "text/html")], text.as_bytes());
    let whole = page(1, &[FIRST]);
    let timeless = |serial: u32| page(serial, &[FIRST]).replace("upload-time", "uploaded");
    for (then, now, is_same) in [
        (html("<a>1</a> "), html("<a>1</a> "), true),
        (html("<a>1</a>"), html("<a>1</a><a>2</a>"), false),
        (json(&timeless(1)), json(&timeless(1)), true),
        (json(&timeless(1)), json(&timeless(2)), false),
        (answer(200, &[("Content-Type", "application/json")], whole.as_bytes()), json(&whole), true),
    ] {
        let Act::Send(sent) = &then[0] else { panic!("an answer is one act") };
        let standin = moving(then.clone(), now);
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::recording(cache.path(), upstream());
        let got = inside.get(&standin.url("/simple/lamp/"));
        assert!(sent.ends_with(&got.body) && got.header("last-modified").is_none(), "{}", got.head);
        let record = inside.close().complete().unwrap();
        let empty = tempfile::tempdir().unwrap();
        let inside = Inside::replaying(empty.path(), upstream(), &record);
        let again = inside.get(&standin.url("/simple/lamp/"));
        assert_eq!(again.status == 200 && again.body == got.body, is_same, "{}", again.text());
    }
}

#[test]
fn a_record_of_before_there_was_the_form_wants_the_page_as_it_was() {
    let (then, now) = (page(1, &[FIRST]), page(1, &[FIRST, SECOND]));
    let standin = moving(json(&then), json(&now));
    let entry = format!(
        r#"{{"request":{{"url":"{}","method":"GET","headers":{{"accept":"{JSON}"}}}},"answer":{{"status":200,"headers":{{"content-type":"{JSON}"}},"body":"{}","size":{}}}}}"#,
        standin.url("/simple/lamp/"),
        Digest::of(then.as_bytes()),
        then.len()
    );
    let record = Recording::parse(format!("{{\"carafe-record\":1}}\n{entry}\n").as_bytes()).unwrap();
    assert_eq!(replay(&standin, &record).0.text(), then);
    assert_eq!(replay(&standin, &record).0.status, 502);
}

#[test]
fn a_body_whose_digest_is_known_need_not_come_twice() {
    let mut endless = json(&page(1, &[FIRST]));
    let Act::Send(bytes) = &mut endless[0] else { panic!("an answer is one act") };
    let text = String::from_utf8(bytes.clone()).unwrap().replace("Content-Length", "X-Length");
    let standin = Standin::new(move |_| vec![Act::Send(text.clone().into_bytes()), Act::Close]);
    let (_, record) = record(&standin);
    assert_eq!(standin.asked().len(), 2, "nobody knew what was to come");
    assert_eq!(replay(&standin, &record).0.status, 200);
    assert_eq!(standin.asked().len(), 3);
}
