//! A stand-in for a registry that misbehaves where a test says so. Otherwise it keeps to the
//! distribution specification and is open to everyone. For what a real one does see `server`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::store::Store;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it is of this method, with `part` in its target.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// An answer: status, headers, body.
pub struct Answer(pub u16, pub Vec<(&'static str, String)>, pub Vec<u8>);

impl Answer {
    pub fn status(status: u16) -> Self {
        Self(status, Vec::new(), Vec::new())
    }

    pub fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.1.push((header, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.2 = body.into();
        self
    }
}

/// What happens to a request.
pub enum Fault {
    /// It is answered so, and not carried out.
    Say(Answer),
    /// The connection closes after so many bytes of its body. What came of a chunk is kept.
    Cut(usize),
    /// It is carried out, and the connection closes without an answer.
    LoseAnswer,
    /// It is carried out, and the answer has no headers.
    Bare,
    /// Nothing, until the client goes away.
    Stall,
}

type Script = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// The stand-in. Its threads end with the test's process.
pub struct FaultyServer {
    address: String,
    state: Arc<State>,
}

struct State {
    /// Consulted when the head of a request is there, and once more when the body is.
    early: Box<Script>,
    late: Box<Script>,
    store: Mutex<Store>,
    seen: Mutex<Vec<Request>>,
    received: AtomicU64,
}

impl FaultyServer {
    /// Answers with `answer` where that gives an answer.
    pub fn start(answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::run(|_| None, move |request| answer(request).map(Fault::Say))
    }

    /// Follows `script`, which sees a request's head, without its body.
    pub fn scripted(script: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self::run(script, |_| None)
    }

    fn run(
        early: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
        late: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            early: Box::new(early),
            late: Box::new(late),
            store: Mutex::default(),
            seen: Mutex::default(),
            received: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(&stream));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Requests of this method with `part` in their target; of those to an upload without bodies.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Request> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|request| request.is(method, part)).cloned().collect()
    }

    /// The bytes of all blobs' bodies that came, whole or not.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }

    /// The blob that is stored under this digest.
    pub fn stored(&self, digest: &str) -> Option<Vec<u8>> {
        self.state.store.lock().unwrap().stored(digest)
    }
}

impl State {
    /// One request.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut request = read_head(&mut reader)?;
        let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let early = (self.early)(&request);
        let length = if let Some(Fault::Cut(bytes)) = early { bytes.min(length) } else { length };
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        if request.target.contains("/uploads/") {
            self.received.fetch_add(length as u64, Ordering::Relaxed);
        }
        let mut logged = request.clone();
        if request.target.contains("/uploads/") {
            logged.body.clear();
        }
        self.seen.lock().unwrap().push(logged);
        let obey = || self.store.lock().unwrap().answer(&request);
        match early.or_else(|| (self.late)(&request)) {
            None => write(stream, &request, obey()),
            Some(Fault::Say(answer)) => write(stream, &request, answer),
            Some(Fault::Cut(_)) => {
                let _ = request.is("PATCH", "/uploads/").then(obey);
            }
            Some(Fault::LoseAnswer) => {
                let _ = obey();
            }
            Some(Fault::Bare) => write(stream, &request, Answer::status(obey().0)),
            Some(Fault::Stall) => {
                let _ = reader.read(&mut [0]);
            }
        }
        Some(())
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((key, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(key.to_lowercase(), value.to_owned());
    }
    Some(Request { method, target, headers, body: Vec::new() })
}

fn write(mut stream: &TcpStream, request: &Request, Answer(status, headers, body): Answer) {
    let mut head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n");
    if !headers.iter().any(|(key, _)| *key == "Content-Length") && status != 204 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (key, value) in headers {
        head += &format!("{key}: {value}\r\n");
    }
    let body = if request.method == "HEAD" { Vec::new() } else { body };
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
}
