//! Redirects to signed addresses, in a replay that has a part of their bodies.
//!
//! The body of nearly every redirect is the same, the empty one: after the first it is there.

use std::path::{Path, PathBuf};

use carafe_builder::egress::{EgressReport, Mode, Reason, Recording, Update, UpdateSelector};
use carafe_layers::digest::Digest;

use crate::support::{Asked, Inside, Standin, answer, upstream};

const KEY: &str = "X-Amz-Signature=s1gnature";

/// `/release/N` leads to `/object/N`, and `/far/N` there by way of `/hop/N`: with another signature
/// each time, and nobody without one. `/page/N` does so as well, with a page that says where.
fn storage() -> Standin {
    Standin::new(|asked: &Asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let mut parts = path.split('/').skip(1);
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_signed = query.starts_with(KEY);
        let lead = |to: &str| {
            let location = format!("/{to}/{name}?{KEY}{}&X-Amz-Expires=300", asked.before);
            answer(302, &[("Location", &location)], b"")
        };
        match (kind, is_signed) {
            ("release", _) | ("hop", true) => lead("object"),
            ("far", _) => lead("hop"),
            ("page", _) => {
                let location = format!("/object/{name}?{KEY}{}", asked.before);
                let page = format!("<a href=\"{location}\">Found</a>");
                answer(302, &[("Location", &location)], page.as_bytes())
            }
            ("object", true) => answer(200, &[], format!("object {name}").as_bytes()),
            _ => answer(403, &[], b"not signed"),
        }
    })
}

fn follow(inside: &Inside, standin: &Standin, path: &str) -> String {
    inside.curl(&["--location", &standin.url(path)]).text()
}

fn record(cache: &Path, standin: &Standin, paths: &[&str]) -> Recording {
    let inside = Inside::recording(cache, upstream());
    paths.iter().for_each(|path| assert!(follow(&inside, standin, path).starts_with("object ")));
    let record = inside.close().complete().unwrap();
    assert!(!String::from_utf8(record.to_bytes()).unwrap().contains("s1gnature"));
    record
}

/// What was asked outside since `before` requests, without its query.
fn asked(standin: &Standin, before: usize) -> Vec<String> {
    let plain = |asked: &Asked| asked.path.split('?').next().unwrap().to_owned();
    standin.asked()[before..].iter().map(plain).collect()
}

/// A replay with an empty store: what each path brought, what was asked outside, what passed.
fn replay(standin: &Standin, record: &Recording, paths: &[&str]) -> (Vec<String>, Vec<String>, EgressReport) {
    let before = standin.asked().len();
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(cache.path(), upstream(), record);
    let texts = paths.iter().map(|path| follow(&inside, standin, path)).collect();
    (texts, asked(standin, before), inside.close())
}

/// Where a store has this body.
fn body(cache: &Path, text: &str) -> PathBuf {
    cache.join("bodies-v1").join(Digest::of(text.as_bytes()).hex())
}

#[test]
fn a_recorded_redirect_is_asked_again_for_the_signature_that_its_target_needs() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release/1", "/release/2"]);
    let twice = ["/release/1", "/release/2", "/release/2", "/release/1"];
    let (texts, asked, passed) = replay(&standin, &record, &twice);
    assert_eq!(texts, ["object 1", "object 2", "object 2", "object 1"]);
    assert_eq!(asked, ["/release/1", "/object/1", "/release/2", "/object/2"]);
    assert_eq!((passed.tries_again, passed.failures.len()), (0, 0));
}

#[test]
fn so_is_each_redirect_of_a_chain() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let paths = ["/far/1", "/far/2"];
    let record = record(cache.path(), &standin, &paths);
    let (texts, asked, passed) = replay(&standin, &record, &paths);
    assert_eq!(texts, ["object 1", "object 2"]);
    assert_eq!(asked, ["/far/1", "/hop/1", "/object/1", "/far/2", "/hop/2", "/object/2"]);
    assert_eq!((passed.tries_again, passed.failures.len()), (0, 0));
}

#[test]
fn a_page_that_has_the_signature_is_not_recorded() {
    let standin = storage();
    let caches = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = caches.each_ref().map(|cache| record(cache.path(), &standin, &["/page/1"]));
    assert_eq!(first, second);
    let sizes: Vec<_> = first.entries().map(|(_, answer)| answer.size).collect();
    assert_eq!(sizes, [8, 0]);
    assert_eq!(replay(&standin, &first, &["/page/1"]).0, ["object 1"]);
}

#[test]
fn what_is_no_redirect_keeps_its_body_whatever_it_says_of_a_location() {
    let standin = Standin::new(|asked: &Asked| {
        let status = asked.path.trim_start_matches('/').parse().unwrap();
        answer(status, &[("Location", &format!("/object?{KEY}"))], b"a body")
    });
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    for status in [200, 201, 404] {
        let got = inside.get(&standin.url(&format!("/{status}")));
        assert_eq!((got.status, got.text()), (status, "a body".to_owned()));
    }
    let record = inside.close().complete().unwrap();
    assert!(!String::from_utf8(record.to_bytes()).unwrap().contains("s1gnature"));
}

#[test]
fn a_target_may_be_asked_for_many_times_in_one_run() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release/0", "/release/1"]);
    let empty = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(empty.path(), upstream(), &record);
    assert_eq!(follow(&inside, &standin, "/release/0"), "object 0");
    let before = standin.asked().len();
    let (release, object) = (standin.url("/release/1"), standin.url("/object/1"));
    assert_eq!(inside.curl(&["--head", &release]).status, 302);
    assert_eq!(inside.curl(&["--head", &object]).header("content-length").unwrap(), "8");
    assert_eq!(inside.curl(&["--range", "7-", &object]).text(), "1");
    assert_eq!(inside.curl(&["--location", &release]).text(), "object 1");
    assert_eq!(asked(&standin, before), ["/release/1", "/object/1"]);
}

#[test]
fn a_redirect_is_asked_again_once_however_many_clients_need_it() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release/0", "/release/1"]);
    // With its body here, and without.
    for earlier in [&["/release/0"][..], &[]] {
        let empty = tempfile::tempdir().unwrap();
        let inside = Inside::replaying(empty.path(), upstream(), &record);
        earlier.iter().for_each(|path| assert_eq!(follow(&inside, &standin, path), "object 0"));
        let before = standin.asked().len();
        std::thread::scope(|scope| {
            let ask = || inside.get(&standin.url("/release/1")).status;
            let clients = [(); 8].map(|()| scope.spawn(ask));
            clients.into_iter().for_each(|client| assert_eq!(client.join().unwrap(), 302));
        });
        assert_eq!(asked(&standin, before), ["/release/1"]);
    }
}

#[test]
fn nor_is_it_for_each_try_of_a_target_that_is_gone() {
    let standin = Standin::new(|asked: &Asked| match asked.path.as_str() {
        "/release" => answer(302, &[("Location", &format!("/object?{KEY}{}", asked.before))], b""),
        path if path.ends_with("s1gnature0") => answer(200, &[], b"object 1"),
        _ => answer(404, &[], b"gone"),
    });
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release"]);
    std::fs::remove_file(body(cache.path(), "object 1")).unwrap();
    let inside = Inside::replaying(cache.path(), upstream(), &record);
    (0..3).for_each(|_| assert!(follow(&inside, &standin, "/release").contains("status 404")));
    let releases = standin.asked().iter().filter(|asked| asked.path == "/release").count();
    assert_eq!(releases, 1 + 1);
}

#[test]
fn another_answer_that_is_damaged_ends_no_redirect_to_it() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release/1"]);
    let wrong = String::from_utf8(record.to_bytes()).unwrap().replace("\"size\":8", "\"size\":9");
    let inside = Inside::replaying(cache.path(), upstream(), &Recording::parse(wrong.as_bytes()).unwrap());
    assert_eq!(inside.get(&standin.url("/release/1")).status, 302);
}

#[test]
fn a_redirect_is_not_asked_for_what_is_here_or_may_not_be_fetched() {
    let standin = storage();
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/release/1"]);
    let before = standin.asked().len();
    let inside = Inside::replaying(cache.path(), upstream(), &record);
    assert_eq!(follow(&inside, &standin, "/release/1"), "object 1");
    assert!(inside.close().failures.is_empty());

    std::fs::remove_file(body(cache.path(), "object 1")).unwrap();
    let mut offline = upstream();
    offline.offline = true;
    let inside = Inside::replaying(cache.path(), offline, &record);
    follow(&inside, &standin, "/release/1");
    let refusals = inside.close().refusals;
    assert!(matches!(&*refusals, [refusal] if matches!(refusal.reason, Reason::NoBody { .. })));
    assert_eq!(asked(&standin, before), [""; 0]);
}

#[test]
fn a_redirect_that_is_gone_ends_nothing_while_its_target_is_there() {
    let standin = Standin::new(|asked: &Asked| match (asked.path.as_str(), asked.before) {
        ("/moved", 0) => answer(301, &[("Location", "/here")], b""),
        ("/here", _) => answer(200, &[], b"object 1"),
        _ => answer(404, &[], b"gone"),
    });
    let cache = tempfile::tempdir().unwrap();
    let record = record(cache.path(), &standin, &["/moved"]);
    std::fs::remove_file(body(cache.path(), "object 1")).unwrap();
    let inside = Inside::replaying(cache.path(), upstream(), &record);
    assert_eq!(follow(&inside, &standin, "/moved"), "object 1");
    assert_eq!(inside.close().failures, []);
}

#[test]
fn a_recorded_redirect_to_what_is_recorded_anew_is_asked_again() {
    let standin = storage();
    let port = standin.port;
    let front = Standin::new(move |asked: &Asked| {
        let location = format!("http://localhost:{port}/object/1?{KEY}{}", asked.before);
        answer(302, &[("Location", &location)], b"")
    });
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    assert_eq!(follow(&inside, &front, "/file"), "object 1");
    let previous = Some(inside.close().complete().unwrap());

    let update = Update::Only(vec![UpdateSelector::new("localhost")]);
    let inside = Inside::open(cache.path(), upstream(), Mode::Record { previous: previous.clone(), update });
    assert_eq!(follow(&inside, &front, "/file"), "object 1");
    let passed = inside.close();
    assert_eq!(passed.changes, []);
    assert_eq!(passed.complete().ok(), previous);
}
