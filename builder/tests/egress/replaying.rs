//! A record is all there is: what it has is answered, all else is refused, and named.

use std::net::UdpSocket;

use carafe_builder::egress::{EgressError, Mode, Reason, Recording, Update, UpdateSelector, Upstream};
use carafe_builder::net::Mirror;

use crate::support::{Inside, Standin, answer, upstream};

fn standin() -> Standin {
    Standin::tls(|asked| answer(200, &[("Content-Type", "text/plain")], asked.path.as_bytes()))
}

fn record(cache: &std::path::Path, standin: &Standin, paths: &[&str]) -> Recording {
    let inside = Inside::recording(cache, upstream());
    for path in paths {
        assert_eq!(inside.get(&standin.url(path)).status, 200);
    }
    inside.close().complete().unwrap()
}

fn offline() -> Upstream {
    Upstream { offline: true, ..upstream() }
}

#[test]
fn what_was_recorded_is_answered_alike_without_a_server() {
    let cache = tempfile::tempdir().unwrap();
    let standin = standin();
    let url = standin.url("/a");
    let recording = Inside::recording(cache.path(), upstream());
    let first = recording.get(&url);
    let record = recording.close().complete().unwrap();
    let replaying = Inside::replaying(cache.path(), offline(), &record);
    let second = replaying.get(&url);
    // Headers and all, the date included.
    assert_eq!((first.head, first.body), (second.head, second.body));
    let passed = replaying.close();
    assert_eq!((passed.record, passed.bytes_fetched), (record, 0));
    assert_eq!(standin.asked().len(), 1);
}

#[test]
fn what_is_not_in_the_record_is_refused_by_process_method_and_address() {
    let cache = tempfile::tempdir().unwrap();
    let standin = standin();
    let record = record(cache.path(), &standin, &["/a"]);
    let inside = Inside::replaying(cache.path(), upstream(), &record);
    let url = standin.url("/b?token");
    let got = inside.curl(&["--data", "x", &url]);
    assert_eq!(got.status, 403);
    assert!(got.text().starts_with(&format!("carafe refused POST {url}: it is not in the record")));
    let error = inside.proxy.attempt_error().unwrap();
    let Some(EgressError::Refused { refusals }) = Some(&error) else { panic!("{error}") };
    let refusal = &refusals[0];
    let peer = refusal.peer.as_ref().unwrap();
    assert!(peer.command.starts_with("curl --silent"), "{}", peer.command);
    assert!(peer.pid > 0);
    assert_eq!((refusal.method.as_str(), refusal.url.as_str()), ("POST", url.as_str()));
    assert_eq!(refusal.reason, Reason::NotInRecord);
    let text = error.to_string();
    assert!(text.contains(&format!("\n  POST {url}: it is not in the record; asked by `curl")), "{text}");
    assert_eq!(standin.asked().len(), 1);
}

#[test]
fn a_body_that_is_gone_is_fetched_again_if_it_is_still_the_same_and_never_offline() {
    let (cache, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let standin = standin();
    let record = record(cache.path(), &standin, &["/a"]);
    let url = standin.url("/a");
    let inside = Inside::replaying(empty.path(), offline(), &record);
    let got = inside.get(&url);
    assert_eq!(got.status, 504);
    assert!(got.text().contains("its body sha256:") && got.text().contains("--bundle"), "{}", got.text());
    assert_eq!(standin.asked().len(), 1);
    drop(inside);
    let inside = Inside::replaying(empty.path(), upstream(), &record);
    assert_eq!(inside.get(&url).text(), "/a");
    assert_eq!(standin.asked().len(), 2);
    drop(inside);
    assert_eq!(Inside::replaying(empty.path(), offline(), &record).get(&url).text(), "/a");
}

#[test]
fn an_offline_update_has_no_way_out() {
    let cache = tempfile::tempdir().unwrap();
    let standin = standin();
    let record = record(cache.path(), &standin, &["/a"]);
    let update = Update::Only(vec![UpdateSelector::new("nothing")]);
    let inside = Inside::open(cache.path(), offline(), Mode::Record { previous: Some(record), update });
    assert_eq!(inside.get(&standin.url("/a")).status, 200);
    assert_eq!(inside.get(&standin.url("/b")).status, 403);
    assert_eq!(standin.asked().len(), 1);
}

#[test]
fn a_host_that_the_build_does_without_is_answered_at_once_and_in_every_replay() {
    let (cache, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let standin = standin();
    let refusing = Upstream { refused_hosts: ["raw.refused.test".to_owned()].into(), ..upstream() };
    let recording = Inside::recording(cache.path(), refusing);
    let url = "https://raw.refused.test/crew/shade/pyproject.toml";
    let first = recording.get(url);
    assert_eq!(
        (first.status, first.header("content-type").as_deref()),
        (404, Some("text/plain; charset=utf-8"))
    );
    assert!(first.text().contains("`refused-hosts`"), "{}", first.text());
    assert_eq!(recording.curl(&["--data", "x", "http://raw.refused.test:8080/"]).status, 404);
    let git = recording.run("git", &["ls-remote", "https://raw.refused.test/crew/shade.git"]);
    let said = String::from_utf8_lossy(&git.stderr).into_owned();
    assert!(!git.status.success() && said.contains("not found"), "{said}");
    assert_eq!(recording.get(&standin.url("/a")).status, 200);
    let passed = recording.close();
    assert_eq!((passed.bytes_fetched, passed.tries_again), (2, 0));
    let record = passed.complete().unwrap();

    // Neither the store nor the spec goes along.
    let replaying = Inside::replaying(elsewhere.path(), offline(), &record);
    let second = replaying.get(url);
    assert_eq!((first.head, first.body), (second.head, second.body));
    assert!(replaying.close().refusals.is_empty());
}

#[test]
fn an_earlier_answer_of_a_host_is_kept_until_it_is_asked_anew() {
    let cache = tempfile::tempdir().unwrap();
    let standin = standin();
    let url = "https://raw.refused.test/a";
    let mirror = Mirror::new("https://raw.refused.test/", &standin.url("/")).unwrap();
    let recording = Inside::recording(cache.path(), Upstream { mirrors: vec![mirror], ..upstream() });
    assert_eq!(recording.get(url).status, 200);
    let record = recording.close().complete().unwrap();
    let refusing = || Upstream { refused_hosts: ["raw.refused.test".to_owned()].into(), ..upstream() };
    assert_eq!(Inside::replaying(cache.path(), refusing(), &record).get(url).status, 200);
    let only = |wanted| Mode::Record {
        previous: Some(record.clone()),
        update: Update::Only(vec![UpdateSelector::new(wanted)]),
    };
    for (wanted, status) in [("pypi.org", 200), ("raw.refused.test", 404)] {
        assert_eq!(Inside::open(cache.path(), refusing(), only(wanted)).get(url).status, status);
    }
}

#[test]
fn who_goes_past_the_proxy_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::replaying(cache.path(), offline(), &Recording::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04pypi\x03org\x00\x00\x01\x00\x01";
    socket.send_to(question, ("127.0.0.1", inside.names)).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(answer[3] & 0xf, 3, "{:?}", &answer[..length]);
    let refusals = inside.close().refusals;
    assert_eq!((refusals[0].url.as_str(), &refusals[0].reason), ("pypi.org", &Reason::NoProxy));
    assert_eq!(refusals[0].peer.as_ref().unwrap().pid, std::process::id());
}
