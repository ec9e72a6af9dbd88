//! Four hundred scripted faults: ways for a server to fail, each once, twice or for ever, for
//! bodies small and large, over http and https. Each ends with a right record or a clear error.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carafe_builder::egress::Upstream;
use carafe_builder::net::retry::{RetryPolicy, Timeouts};

use crate::judge::{Traces, Verdict, judge};
use crate::support::{Act, Asked, Inside, Standin, impatient, upstream};

/// Longer than the door waits.
const STALL: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// More than any fault needs that ends: a slow machine may use up one or two by itself.
const TRIES: u32 = 5;
/// Clients at once.
const CLIENTS: usize = 24;
/// How many faults there are to be at least.
const ENOUGH: usize = 200;

/// A way to fail: what is sent in place of a body.
type Fault = fn(&[u8]) -> Vec<Act>;

const FAULTS: [(&str, Fault); 34] = [
    ("closes before it answers", |_| vec![Act::Close]),
    ("resets before it answers", |_| vec![Act::Reset]),
    ("says nothing", |_| vec![Act::Pause(STALL)]),
    ("closes in the first line", |_| vec![send("HTTP/1.1 20"), Act::Close]),
    ("closes in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Act::Close]),
    ("resets in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Act::Reset]),
    ("stalls in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Act::Pause(STALL)]),
    ("closes before the body", |body| vec![head(body.len()), Act::Close]),
    ("resets before the body", |body| vec![head(body.len()), Act::Reset]),
    ("stalls before the body", |body| vec![head(body.len()), Act::Pause(STALL), Act::Close]),
    ("closes in the body", |body| vec![head(body.len()), half(body), Act::Close]),
    ("resets in the body", |body| vec![head(body.len()), half(body), Act::Reset]),
    ("stalls in the body", |body| vec![head(body.len()), half(body), Act::Pause(STALL), Act::Close]),
    ("lacks the last byte", |body| vec![head(body.len()), Act::Send(body[1..].to_vec()), Act::Close]),
    ("announces one byte more", |body| vec![head(body.len() + 1), Act::Send(body.to_vec()), Act::Close]),
    ("announces all bytes there can be", |body| vec![length("18446744073709551615"), half(body), Act::Close]),
    ("announces more than that", |body| vec![length("18446744073709551616"), half(body), Act::Close]),
    ("announces less than nothing", |body| vec![length("-1"), half(body), Act::Close]),
    ("announces no number", |body| vec![length("many"), half(body), Act::Close]),
    ("announces two lengths", |body| vec![length("5\r\nContent-Length: 7"), half(body), Act::Close]),
    ("ends before the last chunk", |body| vec![chunked(), chunk(body), Act::Close]),
    ("ends in a chunk", |body| vec![chunked(), chunk_of(body.len() + 1), half(body), Act::Close]),
    ("resets between chunks", |body| vec![chunked(), chunk(&body[..body.len() / 2]), Act::Reset]),
    ("stalls between chunks", |body| {
        vec![chunked(), chunk(&body[..body.len() / 2]), Act::Pause(STALL), Act::Close]
    }),
    ("sends a chunk of no size", |body| vec![chunked(), send("zz\r\n"), half(body), Act::Close]),
    ("speaks no HTTP", |_| vec![send("220 mail.example ESMTP\r\n"), Act::Close]),
    ("answers 500", |_| status("500", "")),
    ("answers 502", |_| status("502", "")),
    ("answers 503 and asks for a pause", |_| status("503", "Retry-After: 0\r\n")),
    ("answers 504", |_| status("504", "")),
    ("answers 429", |_| status("429", "Retry-After: 0\r\n")),
    ("answers 408 and closes", |_| [status("408", "Connection: close\r\n"), vec![Act::Close]].concat()),
    ("answers a part unasked", |body| {
        let range = format!("HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/{}\r\n", body.len());
        vec![send(&format!("{range}Content-Length: 5\r\n\r\n")), Act::Send(body[..5].to_vec())]
    }),
    ("answers 200 with an error page", |_| {
        vec![send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>no</h")]
    }),
];

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn length(length: &str) -> Act {
    send(&format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n"))
}

fn head(size: usize) -> Act {
    length(&size.to_string())
}

fn half(body: &[u8]) -> Act {
    Act::Send(body[..body.len() / 2].to_vec())
}

fn chunked() -> Act {
    send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn chunk_of(size: usize) -> Act {
    send(&format!("{size:x}\r\n"))
}

fn chunk(bytes: &[u8]) -> Act {
    let size = format!("{:x}\r\n", bytes.len());
    Act::Send([size.as_bytes(), bytes, b"\r\n"].concat())
}

fn status(status: &str, header: &str) -> Vec<Act> {
    vec![send(&format!("HTTP/1.1 {status} No\r\n{header}Content-Length: 5\r\n\r\nsorry"))]
}

/// How long a fault lasts, and whether it ends before the door gives up.
const LASTS: [(&str, usize, Verdict); 3] = [
    ("once", 1, Verdict::Recorded),
    ("twice", 2, Verdict::Recorded),
    ("for ever", usize::MAX, Verdict::Failed),
];

/// One scripted fault: its place in the tables, read from the path of a request.
struct Case {
    fault: usize,
    lasts: usize,
    /// Bytes of the right body.
    size: usize,
}

impl Case {
    const SIZES: [usize; 2] = [1000, 300_000];

    fn all() -> impl Iterator<Item = Self> {
        (0..FAULTS.len()).flat_map(|fault| {
            (0..LASTS.len()).flat_map(move |lasts| Self::SIZES.map(|size| Self { fault, lasts, size }))
        })
    }

    fn path(&self) -> String {
        format!("/{}/{}/{}/a-1.0.tgz", self.fault, self.lasts, self.size)
    }

    fn of(path: &str) -> Self {
        let numbers: Vec<usize> = path.split('/').filter_map(|part| part.parse().ok()).collect();
        Self { fault: numbers[0], lasts: numbers[1], size: numbers[2] }
    }

    fn name(&self, scheme: &str) -> String {
        format!("{} {}, {} bytes over {scheme}", FAULTS[self.fault].0, LASTS[self.lasts].0, self.size)
    }

    /// Begins as a gzip file does, and is like no other.
    fn truth(&self) -> Vec<u8> {
        let mut state = (self.fault * 100 + self.lasts) as u32;
        let noise = std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        [0x1f, 0x8b].into_iter().chain(noise).take(self.size).collect()
    }

    fn script(asked: &Asked) -> Vec<Act> {
        let case = Self::of(&asked.path);
        let truth = case.truth();
        if asked.before < LASTS[case.lasts].1 {
            return FAULTS[case.fault].1(&truth);
        }
        vec![head(truth.len()), Act::Send(truth)]
    }
}

/// Has each case done through one door, many at once, and judges each.
fn all(scheme: &str, standin: &Standin) -> usize {
    let cache = tempfile::tempdir().unwrap();
    let retry_policy = RetryPolicy {
        timeouts: Timeouts { read: READ_TIMEOUT, ..impatient().timeouts },
        max_attempts: TRIES,
        ..impatient()
    };
    let inside = Inside::recording(cache.path(), Upstream { retry_policy, ..upstream() });
    let cases: Vec<_> = Case::all().collect();
    let next = AtomicUsize::new(0);
    let got = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = inside.get(&standin.url(&case.path()));
                    got.lock().unwrap().push((case, answer));
                }
            });
        }
    });
    let passed = inside.close();
    let store = Traces::store(cache.path());
    let traces = Traces { record: passed.record.clone(), failures: passed.failures.clone(), store };
    let mut wrong = Vec::new();
    for (case, got) in got.into_inner().unwrap() {
        match judge(&standin.url(&case.path()), &case.truth(), &got, &traces) {
            Ok(verdict) if verdict == LASTS[case.lasts].2 => {}
            Ok(verdict) => wrong.push(format!("{}: {verdict:?} ({})", case.name(scheme), got.text())),
            Err(reason) => wrong.push(format!("{}: {reason}", case.name(scheme))),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // What was not recorded left nothing in the store.
    assert_eq!(traces.store.len(), traces.record.bodies().len());
    assert!(passed.complete().is_err());
    cases.len()
}

#[test]
fn a_large_body_is_gone_on_with_only_where_it_is_sure_to_be_the_same() {
    let truth: Vec<u8> = (0..6_000_000_u32).map(|number| (number % 251) as u8).collect();
    const CUT: usize = 5_000_000;
    let part = |asked: &Asked, truth: &[u8]| {
        assert_eq!(asked.header("range"), Some(format!("bytes={CUT}-").as_str()));
        assert_eq!(asked.header("if-range"), Some("\"1\""));
        let range = format!("bytes {CUT}-{}/{}", truth.len() - 1, truth.len());
        let rest = &truth[CUT..];
        let head =
            format!("HTTP/1.1 206 Part\r\nContent-Range: {range}\r\nContent-Length: {}\r\n\r\n", rest.len());
        vec![send(&head), Act::Send(rest.to_vec())]
    };
    let wrong_part = |truth: &[u8]| {
        let head = "HTTP/1.1 206 Part\r\nContent-Range: bytes 4-7/8\r\nContent-Length: 4\r\n\r\n";
        vec![send(head), Act::Send(truth[4..8].to_vec())]
    };
    let sent = truth.clone();
    let standin = Standin::new(move |asked| match (asked.path.as_str(), asked.before) {
        (_, 0) => vec![head(sent.len()), Act::Send(sent[..CUT].to_vec()), Act::Close],
        ("/rest", 1) => part(asked, &sent),
        ("/other-part", 1) => wrong_part(&sent),
        ("/no-rest", 1) => status("416", ""),
        // The file has changed meanwhile.
        ("/changed", 1) => vec![head(3), send("new")],
        _ => vec![head(sent.len()), Act::Send(sent.clone())],
    });
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    assert!(inside.get(&standin.url("/rest")).body == truth);
    assert!(inside.get(&standin.url("/other-part")).body == truth);
    assert!(inside.get(&standin.url("/no-rest")).body == truth);
    assert_eq!(inside.get(&standin.url("/changed")).text(), "new");
    assert_eq!(inside.close().complete().unwrap().entries().len(), 4);
    assert_eq!(standin.asked().len(), 10);
}

#[test]
fn a_body_without_an_end_is_believed_when_it_comes_twice() {
    let standin = Standin::new(|asked| {
        let body: &[u8] = match asked.before {
            0 => b"the tr",
            _ => b"the truth",
        };
        vec![send("HTTP/1.1 200 OK\r\n\r\n"), Act::Send(body.to_vec()), Act::Close]
    });
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    assert_eq!(inside.get(&standin.url("/a")).text(), "the truth");
    assert_eq!(standin.asked().len(), 3);
}

#[test]
fn over_http_each_ends_with_a_right_record_or_a_clear_error() {
    assert!(all("http", &Standin::new(Case::script)) >= ENOUGH);
}

#[test]
fn over_https_each_ends_with_a_right_record_or_a_clear_error() {
    assert!(all("https", &Standin::tls(Case::script)) >= ENOUGH);
}
