//! Servers, records and clients that are not as they should be.

use carafe_builder::egress::{EgressError, Method, Reason, Recording, Upstream};
use carafe_builder::net::Proxies;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;

use crate::support::{Act, Inside, Standin, answer, upstream};

/// What a recording of one address comes to: the status inside, and the error at the end.
fn failure(upstream: Upstream, url: &str) -> (u16, String) {
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream);
    let got = inside.get(url);
    assert!(got.text().contains("carafe"), "{}", got.text());
    let passed = inside.close();
    assert!(passed.record.is_empty());
    assert_eq!(bodies(cache.path()), 0);
    (got.status, passed.complete().unwrap_err().to_string())
}

/// How many bodies a store has.
fn bodies(cache: &std::path::Path) -> usize {
    std::fs::read_dir(cache.join("bodies-v1")).unwrap().count()
}

#[test]
fn a_refill_with_other_bytes_is_no_answer() {
    let (cache, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let standin = Standin::new(|asked| answer(200, &[], asked.before.min(1).to_string().as_bytes()));
    let inside = Inside::recording(cache.path(), upstream());
    assert_eq!(inside.get(&standin.url("/a")).text(), "0");
    let record = inside.close().complete().unwrap();
    let inside = Inside::replaying(empty.path(), upstream(), &record);
    let got = inside.get(&standin.url("/a"));
    let (then, now) = (Digest::of(b"0"), Digest::of(b"1"));
    assert_eq!(got.status, 502);
    for part in [format!("the record has {then} with status 200"), format!("the server now sends {now}")] {
        assert!(got.text().contains(&part), "{}", got.text());
    }
    let error = inside.proxy.attempt_error().unwrap().to_string();
    assert!(error.contains(&standin.url("/a")) && error.contains(&then.to_string()), "{error}");
}

#[test]
fn a_record_with_another_digest_or_length_is_no_answer() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|_| answer(200, &[], b"right"));
    let inside = Inside::recording(cache.path(), upstream());
    let url = standin.url("/a");
    assert_eq!(inside.get(&url).text(), "right");
    let text = String::from_utf8(inside.close().complete().unwrap().to_bytes()).unwrap();
    let right = Digest::of(b"right").to_string();
    let edits = [
        (text.replace(&right, &Digest::of(b"wrong").to_string()), "the record has sha256:"),
        (text.replace("\"size\":5", "\"size\":4"), "the record says 4 bytes"),
    ];
    for (edited, reason) in edits {
        let record = Recording::parse(edited.as_bytes()).unwrap();
        let got = Inside::replaying(cache.path(), upstream(), &record).get(&url);
        assert_eq!(got.status, 502);
        assert!(got.text().contains(reason), "{}", got.text());
    }
}

#[test]
fn a_body_that_breaks_off_is_tried_again_and_then_an_error() {
    let standin = Standin::new(|_| {
        vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".to_vec()), Act::Close]
    });
    let (status, error) = failure(upstream(), &standin.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains(&format!("GET {}: it broke off", standin.url("/a"))), "{error}");
    assert_eq!(standin.asked().len(), 3);
}

#[test]
fn an_error_page_is_no_archive_and_no_repository() {
    let page = |path: &'static str, accept: &'static str| {
        let standin =
            Standin::new(|_| answer(200, &[("Content-Type", "text/html")], b"<h1>Maintenance</h1>"));
        let cache = tempfile::tempdir().unwrap();
        let inside = Inside::recording(cache.path(), upstream());
        let got = inside.curl(&["--header", &format!("Accept: {accept}"), &standin.url(path)]);
        let error = inside.close().complete().err().map(|error| error.to_string());
        (got.status, error.unwrap_or_default())
    };
    for (path, accept, reason) in [
        ("/a-1.0-py3-none-any.whl", "*/*", "what it sends is no .whl file (text/html)"),
        ("/a/-/a-1.0.tgz?x=y", "*/*", "what it sends is no .tgz file"),
        ("/simple/a/", "application/vnd.pypi.simple.v1+json", "a page for people"),
        ("/a.git/info/refs?service=git-upload-pack", "*/*", "a page for people"),
    ] {
        let (status, error) = page(path, accept);
        assert_eq!(status, 502, "{path}");
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(page("/simple/a/", "text/html").0, 200);
}

#[test]
fn a_certificate_that_should_not_be_there_is_refused_at_once() {
    let standin = Standin::tls(|_| answer(200, &[], b"x"));
    let stranger = Upstream { authorities: Vec::new(), ..upstream() };
    let (status, error) = failure(stranger, &standin.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains("its certificate cannot be trusted: UnknownIssuer"), "{error}");
    // Another host's: the certificate is for 127.0.0.1.
    let url = standin.url("/a").replace("127.0.0.1", "localhost");
    let (_, error) = failure(upstream(), &url);
    assert!(error.contains("its certificate cannot be trusted"), "{error}");
    assert!(standin.asked().is_empty());
}

#[test]
fn a_private_address_is_refused_directly_by_name_and_after_a_redirect() {
    let standin = Standin::new(|_| answer(200, &[], b"secret"));
    let port = standin.port;
    let redirecting =
        Standin::new(move |_| answer(302, &[("Location", &format!("http://127.0.0.1:{port}/secret"))], b""));
    let named = format!("127.0.0.1:{}", redirecting.port);
    let upstream = || Upstream { private_hosts: [named.clone()].into(), ..upstream() };
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    let got = inside.curl(&["--location", &redirecting.url("/")]);
    assert_eq!(got.status, 403);
    let url = format!("http://127.0.0.1:{port}/secret");
    assert!(
        got.text().starts_with(&format!("carafe refused GET {url}: 127.0.0.1 belongs to a private network"))
    );
    for host in ["localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"] {
        assert_eq!(inside.get(&format!("http://{host}:{port}/secret")).status, 403, "{host}");
    }
    // A name that stands for one: this machine's own.
    let own = String::from_utf8(inside.run("hostname", &[]).stdout).unwrap();
    let resolves = std::net::ToSocketAddrs::to_socket_addrs(&(own.trim(), port));
    if resolves.is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback())) {
        let got = inside.get(&format!("http://{}:{port}/secret", own.trim()));
        assert_eq!(got.status, 403, "{}", got.text());
    }
    let passed = inside.close();
    assert!(passed.refusals.iter().all(|refusal| matches!(refusal.reason, Reason::Private { .. })));
    assert!(standin.asked().is_empty());
    // It is no failure of the recording: a replay refuses it just so.
    assert_eq!(passed.complete().unwrap().entries().len(), 1);
}

#[test]
fn the_users_proxy_is_used_and_its_password_is_not_shown() {
    let proxy = Standin::new(|asked| match asked.header("proxy-authorization") {
        Some("Basic bWU6aHVudGVyMjI=") if asked.path == "http://pypi.example/a" => {
            answer(200, &[], b"via proxy")
        }
        _ => answer(407, &[], b""),
    });
    let proxies = Proxies::One(Secret::new(proxy.url("/").replace("//", "//me:hunter22@")));
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(
        cache.path(),
        Upstream { proxies, private_hosts: Default::default(), ..upstream() },
    );
    assert_eq!(inside.get("http://pypi.example/a").text(), "via proxy");
    // The proxy itself is not for the build.
    assert_eq!(inside.get(&proxy.url("/")).status, 403);
    let record = String::from_utf8(inside.close().complete().unwrap().to_bytes()).unwrap();
    assert!(!record.contains("hunter22") && !record.contains("127.0.0.1"), "{record}");
}

#[test]
fn a_refused_credential_is_a_failure_and_not_shown() {
    let standin = Standin::new(|_| answer(403, &[], b"no"));
    let mut upstream = upstream();
    let password = Secret::new("hunter22");
    let credential = carafe_builder::net::Credential::Basic { user: "me".to_owned(), password };
    upstream.credentials.insert("127.0.0.1".to_owned(), credential);
    let (status, error) = failure(upstream, &standin.url("/a"));
    assert_eq!(status, 502);
    assert!(error.contains("refuses the credential") && !error.contains("hunter22"), "{error}");
    assert_eq!(standin.asked().len(), 1);
}

#[test]
fn what_a_build_does_not_do_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|_| answer(200, &[], b"x"));
    let inside = Inside::recording(cache.path(), upstream());
    let url = standin.url("/a");
    assert_eq!(inside.curl(&["--request", "DELETE", &url]).status, 405);
    assert_eq!(inside.curl(&["--request", "PUT", "--data", "x", &url]).status, 405);
    assert_eq!(inside.curl(&["--data", "x", &standin.url("/a.git/git-receive-pack")]).status, 405);
    let large = inside.path("large");
    std::fs::write(&large, vec![0; (16 << 20) + 1]).unwrap();
    assert_eq!(inside.curl(&["--data-binary", &format!("@{}", large.display()), &url]).status, 400);
    let direct = inside.curl(&["--noproxy", "*", &format!("http://127.0.0.1:{}/a", inside.port)]);
    assert_eq!(direct.status, 400);
    assert!(standin.asked().is_empty());
}

#[test]
fn a_secret_in_an_address_stays_out_of_the_record() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| match asked.path.as_str() {
        "/leak" => answer(302, &[("Location", "/there?key=hunter22")], b""),
        _ => answer(200, &[], b"x"),
    });
    let mut upstream = upstream();
    let credential = carafe_builder::net::Credential::Bearer(Secret::new("hunter22"));
    upstream.credentials.insert("other.example".to_owned(), credential);
    let inside = Inside::recording(cache.path(), upstream);
    let got = inside.get(&standin.url("/a?token=hunter22"));
    assert_eq!(got.status, 400);
    assert!(!got.text().contains("hunter22"), "{}", got.text());
    assert_eq!(inside.get(&standin.url("/leak")).status, 502);
    // A credential that a client brings along is passed on, and recorded as being there.
    let url = standin.url("/a").replace("//", "//you:swordfish@");
    assert_eq!(inside.get(&url).status, 200);
    assert!(standin.asked()[1].header("authorization").is_some());
    let passed = inside.close();
    assert!(!format!("{:?} {:?}", passed.refusals, passed.failures).contains("hunter22"));
    assert_eq!(passed.failures[0].reason, "its answer has a secret of yours in its headers");
    let record = passed.record;
    let (request, _) = record.entries().next().unwrap();
    assert_eq!((request.method, request.headers["authorization"].as_str()), (Method::Get, "present"));
    assert!(!String::from_utf8(record.to_bytes()).unwrap().contains("swordfish"));
}

#[test]
fn a_server_that_wants_to_be_left_alone_is() {
    let standin = Standin::new(|asked| match asked.before {
        0 => answer(429, &[("Retry-After", "0")], b""),
        1 => answer(503, &[("Retry-After", "3600")], b""),
        _ => answer(200, &[], b"x"),
    });
    let (_, error) = failure(upstream(), &standin.url("/a"));
    assert!(error.contains("503") && error.contains("requests a pause of 3600 s"), "{error}");
    assert_eq!(standin.asked().len(), 2);
}

#[test]
fn a_failure_that_a_client_outlasts_is_none() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| match asked.before {
        0..3 => answer(500, &[], b""),
        _ => answer(200, &[], b"x"),
    });
    let inside = Inside::recording(cache.path(), upstream());
    assert_eq!(inside.get(&standin.url("/a")).status, 502);
    assert!(matches!(inside.proxy.attempt_error(), Some(EgressError::Failed { .. })));
    assert_eq!(inside.get(&standin.url("/a")).text(), "x");
    let passed = inside.close();
    assert_eq!(passed.tries_again, 2);
    assert_eq!(passed.complete().unwrap().entries().len(), 1);
}
