//! Four hundred scripted faults: each way for a server to fail, once, twice or always, with a small
//! and a large body, over http and https. Each must end with a correct recording or a clear error.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carafe_builder::egress::Upstream;
use carafe_builder::net::retry::{RetryPolicy, Timeouts};

use crate::judge::{Outcome, Verdict, judge};
use crate::support::{Action, ReceivedRequest, ScriptedServer, TestProxy, test_retry_policy, upstream};

/// Longer than the read timeout.
const STALL: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// More than any temporary fault needs: a slow machine may cause one or two failures by itself.
const MAX_ATTEMPTS: u32 = 5;
/// Concurrent clients.
const CLIENTS: usize = 24;
/// Minimum number of faults.
const MIN_FAULTS: usize = 200;

/// A way to fail: the actions in place of a correct response with this body.
type Fault = fn(&[u8]) -> Vec<Action>;

const FAULTS: [(&str, Fault); 34] = [
    ("closes before the response", |_| vec![Action::Close]),
    ("resets before the response", |_| vec![Action::Reset]),
    ("sends nothing", |_| vec![Action::Pause(STALL)]),
    ("closes in the first line", |_| vec![send("HTTP/1.1 20"), Action::Close]),
    ("closes in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Action::Close]),
    ("resets in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Action::Reset]),
    ("stalls in the head", |_| vec![send("HTTP/1.1 200 OK\r\nContent-Le"), Action::Pause(STALL)]),
    ("closes before the body", |body| vec![head(body.len()), Action::Close]),
    ("resets before the body", |body| vec![head(body.len()), Action::Reset]),
    ("stalls before the body", |body| vec![head(body.len()), Action::Pause(STALL), Action::Close]),
    ("closes in the body", |body| vec![head(body.len()), half(body), Action::Close]),
    ("resets in the body", |body| vec![head(body.len()), half(body), Action::Reset]),
    ("stalls in the body", |body| vec![head(body.len()), half(body), Action::Pause(STALL), Action::Close]),
    ("lacks the last byte", |body| vec![head(body.len()), Action::Send(body[1..].to_vec()), Action::Close]),
    ("announces one byte more", |body| {
        vec![head(body.len() + 1), Action::Send(body.to_vec()), Action::Close]
    }),
    ("announces the maximum length", |body| vec![length("18446744073709551615"), half(body), Action::Close]),
    ("announces more than the maximum length", |body| {
        vec![length("18446744073709551616"), half(body), Action::Close]
    }),
    ("announces a negative length", |body| vec![length("-1"), half(body), Action::Close]),
    ("announces a length that is not a number", |body| vec![length("many"), half(body), Action::Close]),
    ("announces two lengths", |body| vec![length("5\r\nContent-Length: 7"), half(body), Action::Close]),
    ("ends before the last chunk", |body| vec![chunked(), chunk(body), Action::Close]),
    ("ends in a chunk", |body| vec![chunked(), chunk_of(body.len() + 1), half(body), Action::Close]),
    ("resets between chunks", |body| vec![chunked(), chunk(&body[..body.len() / 2]), Action::Reset]),
    ("stalls between chunks", |body| {
        vec![chunked(), chunk(&body[..body.len() / 2]), Action::Pause(STALL), Action::Close]
    }),
    ("sends a chunk without a size", |body| vec![chunked(), send("zz\r\n"), half(body), Action::Close]),
    ("sends something other than HTTP", |_| vec![send("220 mail.example ESMTP\r\n"), Action::Close]),
    ("returns 500", |_| status("500", "")),
    ("returns 502", |_| status("502", "")),
    ("returns 503 and requests a pause", |_| status("503", "Retry-After: 0\r\n")),
    ("returns 504", |_| status("504", "")),
    ("returns 429", |_| status("429", "Retry-After: 0\r\n")),
    ("returns 408 and closes", |_| [status("408", "Connection: close\r\n"), vec![Action::Close]].concat()),
    ("returns a range without a request for it", |body| {
        let range = format!("HTTP/1.1 206 Part\r\nContent-Range: bytes 0-4/{}\r\n", body.len());
        vec![send(&format!("{range}Content-Length: 5\r\n\r\n")), Action::Send(body[..5].to_vec())]
    }),
    ("returns 200 with an error page", |_| {
        vec![send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>no</h")]
    }),
];

fn send(text: &str) -> Action {
    Action::Send(text.as_bytes().to_vec())
}

fn length(length: &str) -> Action {
    send(&format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n"))
}

fn head(size: usize) -> Action {
    length(&size.to_string())
}

fn half(body: &[u8]) -> Action {
    Action::Send(body[..body.len() / 2].to_vec())
}

fn chunked() -> Action {
    send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
}

fn chunk_of(size: usize) -> Action {
    send(&format!("{size:x}\r\n"))
}

fn chunk(bytes: &[u8]) -> Action {
    let size = format!("{:x}\r\n", bytes.len());
    Action::Send([size.as_bytes(), bytes, b"\r\n"].concat())
}

fn status(status: &str, header: &str) -> Vec<Action> {
    vec![send(&format!("HTTP/1.1 {status} No\r\n{header}Content-Length: 5\r\n\r\nsorry"))]
}

/// How often a fault occurs, and the expected outcome.
const DURATIONS: [(&str, usize, Verdict); 3] = [
    ("once", 1, Verdict::Recorded),
    ("twice", 2, Verdict::Recorded),
    ("always", usize::MAX, Verdict::Failed),
];

/// One scripted fault: its indexes in the tables, which the path of a request contains.
struct Case {
    fault: usize,
    duration: usize,
    /// The size of the correct body in bytes.
    size: usize,
}

impl Case {
    const SIZES: [usize; 2] = [1000, 300_000];

    fn all() -> impl Iterator<Item = Self> {
        (0..FAULTS.len()).flat_map(|fault| {
            (0..DURATIONS.len())
                .flat_map(move |duration| Self::SIZES.map(|size| Self { fault, duration, size }))
        })
    }

    fn path(&self) -> String {
        format!("/{}/{}/{}/a-1.0.tgz", self.fault, self.duration, self.size)
    }

    fn of(path: &str) -> Self {
        let numbers: Vec<usize> = path.split('/').filter_map(|part| part.parse().ok()).collect();
        Self { fault: numbers[0], duration: numbers[1], size: numbers[2] }
    }

    fn name(&self, scheme: &str) -> String {
        format!("{} {}, {} bytes over {scheme}", FAULTS[self.fault].0, DURATIONS[self.duration].0, self.size)
    }

    /// The correct body: different for each case, with the first bytes of a gzip file.
    fn truth(&self) -> Vec<u8> {
        let mut state = (self.fault * 100 + self.duration) as u32;
        let noise = std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        [0x1f, 0x8b].into_iter().chain(noise).take(self.size).collect()
    }

    fn script(request: &ReceivedRequest) -> Vec<Action> {
        let case = Self::of(&request.path);
        let truth = case.truth();
        if request.earlier < DURATIONS[case.duration].1 {
            return FAULTS[case.fault].1(&truth);
        }
        vec![head(truth.len()), Action::Send(truth)]
    }
}

/// Fetches each case through one egress proxy, many at a time, and checks each outcome.
fn check_all(scheme: &str, server: &ScriptedServer) -> usize {
    let cache = tempfile::tempdir().unwrap();
    let retry_policy = RetryPolicy {
        timeouts: Timeouts { read: READ_TIMEOUT, ..test_retry_policy().timeouts },
        max_attempts: MAX_ATTEMPTS,
        ..test_retry_policy()
    };
    let proxy = TestProxy::recording(cache.path(), Upstream { retry_policy, ..upstream() });
    let cases: Vec<_> = Case::all().collect();
    let next = AtomicUsize::new(0);
    let got = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let response = proxy.get(&server.url(&case.path()));
                    got.lock().unwrap().push((case, response));
                }
            });
        }
    });
    let report = proxy.close();
    let store = Outcome::store(cache.path());
    let outcome = Outcome { recording: report.recording.clone(), failures: report.failed.clone(), store };
    let mut wrong = Vec::new();
    for (case, got) in got.into_inner().unwrap() {
        match judge(&server.url(&case.path()), &case.truth(), &got, &outcome) {
            Ok(verdict) if verdict == DURATIONS[case.duration].2 => {}
            Ok(verdict) => wrong.push(format!("{}: {verdict:?} ({})", case.name(scheme), got.text())),
            Err(reason) => wrong.push(format!("{}: {reason}", case.name(scheme))),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // The store has the recorded bodies only.
    assert_eq!(outcome.store.len(), outcome.recording.bodies().len());
    assert!(report.complete().is_err());
    cases.len()
}

#[test]
fn resumes_a_large_body_only_if_it_is_certainly_the_same() {
    let truth: Vec<u8> = (0..6_000_000_u32).map(|number| (number % 251) as u8).collect();
    const CUT: usize = 5_000_000;
    let part = |request: &ReceivedRequest, truth: &[u8]| {
        assert_eq!(request.header("range"), Some(format!("bytes={CUT}-").as_str()));
        assert_eq!(request.header("if-range"), Some("\"1\""));
        let range = format!("bytes {CUT}-{}/{}", truth.len() - 1, truth.len());
        let rest = &truth[CUT..];
        let head =
            format!("HTTP/1.1 206 Part\r\nContent-Range: {range}\r\nContent-Length: {}\r\n\r\n", rest.len());
        vec![send(&head), Action::Send(rest.to_vec())]
    };
    let wrong_part = |truth: &[u8]| {
        let head = "HTTP/1.1 206 Part\r\nContent-Range: bytes 4-7/8\r\nContent-Length: 4\r\n\r\n";
        vec![send(head), Action::Send(truth[4..8].to_vec())]
    };
    let sent = truth.clone();
    let server = ScriptedServer::new(move |request| match (request.path.as_str(), request.earlier) {
        (_, 0) => vec![head(sent.len()), Action::Send(sent[..CUT].to_vec()), Action::Close],
        ("/rest", 1) => part(request, &sent),
        ("/other-part", 1) => wrong_part(&sent),
        ("/no-rest", 1) => status("416", ""),
        // The file has changed in the meantime.
        ("/changed", 1) => vec![head(3), send("new")],
        _ => vec![head(sent.len()), Action::Send(sent.clone())],
    });
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    assert!(proxy.get(&server.url("/rest")).body == truth);
    assert!(proxy.get(&server.url("/other-part")).body == truth);
    assert!(proxy.get(&server.url("/no-rest")).body == truth);
    assert_eq!(proxy.get(&server.url("/changed")).text(), "new");
    assert_eq!(proxy.close().complete().unwrap().entries().len(), 4);
    assert_eq!(server.requests().len(), 10);
}

#[test]
fn accepts_a_body_without_a_length_when_it_is_received_twice() {
    let server = ScriptedServer::new(|request| {
        let body: &[u8] = match request.earlier {
            0 => b"the tr",
            _ => b"the truth",
        };
        vec![send("HTTP/1.1 200 OK\r\n\r\n"), Action::Send(body.to_vec()), Action::Close]
    });
    let cache = tempfile::tempdir().unwrap();
    let proxy = TestProxy::recording(cache.path(), upstream());
    assert_eq!(proxy.get(&server.url("/a")).text(), "the truth");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn each_fault_over_http_ends_with_a_correct_recording_or_a_clear_error() {
    assert!(check_all("http", &ScriptedServer::new(Case::script)) >= MIN_FAULTS);
}

#[test]
fn each_fault_over_https_ends_with_a_correct_recording_or_a_clear_error() {
    assert!(check_all("https", &ScriptedServer::tls(Case::script)) >= MIN_FAULTS);
}
