//! What is asked, what is kept, and what is written down.

use carafe_builder::egress::{Mode, Update, UpdateSelector};
use carafe_builder::net::{Credential, Mirror};
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;

use crate::support::{Act, Asked, Inside, Standin, answer, upstream};

/// Its answers have all that differs from one time to the next.
fn restless(asked: &Asked) -> Vec<Act> {
    let date = format!("Sat, 21 Nov 2026 10:00:{:02} GMT", asked.before);
    let tag = format!("\"{}\"", asked.before);
    let headers = [
        ("Content-Type", "text/plain"),
        ("Date", &date),
        ("ETag", &tag),
        ("Set-Cookie", "id=1"),
        ("X-Request-Id", &tag),
    ];
    answer(200, &headers, format!("hello {}", asked.path).as_bytes())
}

#[test]
fn http_and_https_are_recorded_and_time_stands_still() {
    let cache = tempfile::tempdir().unwrap();
    let (plain, tls) = (Standin::new(restless), Standin::tls(restless));
    let inside = Inside::recording(cache.path(), upstream());
    for url in [plain.url("/a?b=c"), tls.url("/a?b=c")] {
        let got = inside.get(&url);
        assert_eq!((got.status, got.text()), (200, "hello /a?b=c".to_owned()), "{}", got.head);
        assert_eq!(got.header("date").unwrap(), "Wed, 01 Jan 2020 00:00:00 GMT");
        assert_eq!(got.header("etag").unwrap(), format!("\"{}\"", Digest::of(b"hello /a?b=c")));
        assert!(got.header("set-cookie").is_none());
    }
    let record = inside.close().complete().unwrap();
    let text = String::from_utf8(record.to_bytes()).unwrap();
    let (digest, size) = (Digest::of(b"hello /a?b=c"), 12);
    let entry = |url: &str| {
        format!(
            r#"{{"request":{{"url":"{url}","method":"GET"}},"answer":{{"status":200,"headers":{{"content-type":"text/plain"}},"body":"{digest}","size":{size}}}}}"#
        )
    };
    let lines = [r#"{"carafe-record":1}"#, &entry(&plain.url("/a?b=c")), &entry(&tls.url("/a?b=c")), ""];
    assert_eq!(text, lines.join("\n"));
}

#[test]
fn two_recordings_of_one_upstream_are_equal_whatever_the_order() {
    let standin = Standin::tls(restless);
    let urls: Vec<_> = (0..40).map(|number| standin.url(&format!("/{number}"))).collect();
    let record = |urls: Vec<&String>| {
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::recording(cache.path(), upstream());
        std::thread::scope(|scope| {
            for part in urls.chunks(10) {
                scope.spawn(|| part.iter().for_each(|url| assert_eq!(inside.get(url).status, 200)));
            }
        });
        inside.close().complete().unwrap().to_bytes()
    };
    assert_eq!(record(urls.iter().collect()), record(urls.iter().rev().collect()));
}

#[test]
fn one_request_goes_out_once_however_often_it_is_made_at_once() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| {
        let number = asked.before.to_string();
        let mut acts = vec![Act::Pause(std::time::Duration::from_millis(100))];
        acts.extend(answer(200, &[], number.as_bytes()));
        acts
    });
    let inside = Inside::recording(cache.path(), upstream());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(inside.get(&standin.url("/same")).text(), "0"));
        }
    });
    assert_eq!(inside.get(&standin.url("/same")).text(), "0");
    assert_eq!(standin.asked().len(), 1);
}

#[test]
fn ranges_heads_and_conditions_are_answered_from_one_whole_body() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| {
        assert_eq!((asked.method.as_str(), asked.header("range")), ("GET", None));
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
        answer(200, &[], b"0123456789")
    });
    let inside = Inside::recording(cache.path(), upstream());
    let url = standin.url("/file");
    let part = |range: &str| {
        let got = inside.curl(&["--range", range, &url]);
        (got.status, got.text(), got.header("content-range").unwrap_or_default())
    };
    let expect = |status, text: &str, range: &str| (status, text.to_owned(), range.to_owned());
    assert_eq!(part("2-4"), expect(206, "234", "bytes 2-4/10"));
    assert_eq!(part("7-"), expect(206, "789", "bytes 7-9/10"));
    assert_eq!(part("-3"), expect(206, "789", "bytes 7-9/10"));
    assert_eq!(part("8-100"), expect(206, "89", "bytes 8-9/10"));
    assert_eq!(part("10-"), expect(416, "", "bytes */10"));
    assert_eq!(part("0-1,4-5"), expect(200, "0123456789", ""));
    let head = inside.curl(&["--head", &url]);
    assert_eq!((head.status, head.header("content-length").unwrap()), (200, "10".to_owned()));
    let tag = head.header("etag").unwrap();
    let same = inside.curl(&["--header", &format!("If-None-Match: {tag}"), &url]);
    assert_eq!((same.status, same.text()), (304, String::new()));
    let other = inside.curl(&["--range", "2-4", "--header", "If-Range: \"x\"", &url]);
    assert_eq!((other.status, other.text()), (200, "0123456789".to_owned()));
    assert_eq!(standin.asked().len(), 1);
    assert_eq!(inside.close().record.entries().len(), 1);
}

#[test]
fn what_selects_an_answer_is_part_of_its_request() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| {
        let accept = asked.header("accept").unwrap().to_owned();
        let body = String::from_utf8(asked.body.clone()).unwrap();
        answer(200, &[], format!("{} {accept} {body}", asked.method).as_bytes())
    });
    let inside = Inside::recording(cache.path(), upstream());
    let url = standin.url("/");
    assert_eq!(inside.get(&url).text(), "GET */* ");
    assert_eq!(inside.curl(&["--header", "Accept: a/b", &url]).text(), "GET a/b ");
    assert_eq!(inside.curl(&["--data", "x=1", &url]).text(), "POST */* x=1");
    assert_eq!(inside.curl(&["--data", "x=2", &url]).text(), "POST */* x=2");
    // Telemetry and the like decides nothing.
    assert_eq!(inside.curl(&["--header", "X-Session: 1", "--user-agent", "x", &url]).text(), "GET */* ");
    assert_eq!(inside.close().complete().unwrap().entries().len(), 4);
}

#[test]
fn redirects_and_404s_are_answers_and_encoded_bodies_stay_encoded() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| match asked.path.as_str() {
        "/from" => answer(302, &[("Location", "/to")], b""),
        "/to" => answer(200, &[("Content-Encoding", "gzip")], b"\x1f\x8b not really"),
        _ => answer(404, &[], b"no such thing"),
    });
    let inside = Inside::recording(cache.path(), upstream());
    let got = inside.curl(&["--location", &standin.url("/from")]);
    assert_eq!((got.status, got.body.as_slice()), (200, &b"\x1f\x8b not really"[..]));
    assert_eq!(got.header("content-encoding").unwrap(), "gzip");
    assert_eq!(inside.get(&standin.url("/none")).status, 404);
    let record = inside.close().complete().unwrap();
    let statuses: Vec<_> = record.entries().map(|(_, answer)| answer.status).collect();
    assert_eq!(statuses, [302, 404, 200]);
}

#[test]
fn a_mirror_and_a_credential_leave_no_trace() {
    const TOKEN: &str = "hunter22hunter22";
    let mirror = Standin::tls(|asked| match asked.header("authorization") {
        Some("Bearer hunter22hunter22") if asked.path == "/npm/a" => {
            answer(302, &[("Location", "/npm/b?c")], b"")
        }
        Some("Bearer hunter22hunter22") => answer(200, &[], asked.path.as_bytes()),
        _ => answer(401, &[], b"who are you?"),
    });
    let cache = tempfile::tempdir().unwrap();
    let mut upstream = upstream();
    upstream.private_hosts.clear();
    upstream.mirrors.push(Mirror::new("https://registry.example/", &mirror.url("/npm/")).unwrap());
    let credential = Credential::Bearer(Secret::new(TOKEN));
    upstream.credentials.insert(format!("127.0.0.1:{}", mirror.port), credential);
    let inside = Inside::recording(cache.path(), upstream);
    let got = inside.curl(&["--location", "https://registry.example/a"]);
    assert_eq!(got.text(), "/npm/b?c");
    let record = String::from_utf8(inside.close().complete().unwrap().to_bytes()).unwrap();
    assert!(record.contains(r#""location":"https://registry.example/b?c""#), "{record}");
    assert!(!record.contains("127.0.0.1") && !record.contains(TOKEN) && !record.contains("authorization"));
}

#[test]
fn a_signed_redirect_is_followed_and_its_signature_is_not_recorded() {
    let standin = Standin::new(|asked| match asked.path.as_str() {
        "/release" => {
            let location =
                format!("/object?id=1&X-Amz-Expires=300&X-Amz-Signature=s1gnature{}", asked.before);
            answer(302, &[("Location", &location)], b"")
        }
        path if path.contains("s1gnature") => answer(200, &[], b"the object"),
        _ => answer(403, &[], b"not signed"),
    });
    let record = || {
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::recording(cache.path(), upstream());
        assert_eq!(inside.curl(&["--location", &standin.url("/release")]).text(), "the object");
        String::from_utf8(inside.close().complete().unwrap().to_bytes()).unwrap()
    };
    let first = record();
    assert!(!first.contains("s1gnature") && first.contains("/object?id=1\""), "{first}");
    assert_eq!(first, record());
}

#[test]
fn an_update_asks_again_for_what_was_named_and_says_what_changed() {
    let standin = Standin::new(|asked| {
        answer(200, &[], format!("{} {}", asked.path, asked.header("x").unwrap_or_default()).as_bytes())
    });
    let moved = Standin::new(|asked| answer(200, &[], format!("new {}", asked.path).as_bytes()));
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    let urls = ["/simple/one/", "/simple/two/"].map(|path| standin.url(path));
    urls.iter().for_each(|url| assert_eq!(inside.get(url).status, 200));
    let first = inside.close().complete().unwrap();

    let mut upstream = upstream();
    upstream.mirrors.push(Mirror::new(&standin.url("/"), &moved.url("/")).unwrap());
    let update = Update::Only(vec![UpdateSelector::new("Two")]);
    let mode = Mode::Record { previous: Some(first.clone()), update };
    let inside = Inside::open(cache.path(), upstream, mode);
    let texts: Vec<_> = urls.iter().map(|url| inside.get(url).text()).collect();
    assert_eq!(texts, ["/simple/one/ ", "new /simple/two/"]);
    let passed = inside.close();
    let changes: Vec<_> = passed.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, [format!("changed: GET {}", urls[1])]);
    assert_eq!(passed.complete().unwrap().entries().len(), 2);
}

#[test]
fn two_recordings_at_once_share_the_store() {
    let standin = Standin::new(|asked| answer(200, &[], asked.path.repeat(5000).as_bytes()));
    let cache = tempfile::tempdir().unwrap();
    let record = || {
        let inside = Inside::recording(cache.path(), upstream());
        for number in 0..20 {
            let path = format!("/{number}");
            assert_eq!(inside.get(&standin.url(&path)).text(), path.repeat(5000));
        }
        inside.close().complete().unwrap().digest()
    };
    let digests = std::thread::scope(|scope| {
        let runs = [scope.spawn(record), scope.spawn(record)];
        runs.map(|run| run.join().unwrap())
    });
    assert_eq!(digests[0], digests[1]);
}
