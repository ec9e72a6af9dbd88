//! A stand-in for a registry that misbehaves where a test says so. Otherwise it keeps to the
//! distribution specification and is open to everyone. For what a real one does see `server`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    /// The same, before its body is read; the rest of that is thrown away, as proxies do.
    Refuse(Answer),
    /// The connection is reset after so many bytes of its body. What came of a chunk is kept.
    Cut(usize),
    /// The same, and nothing of it is kept.
    Drop(usize),
    /// After so many bytes of its body the server closes its sending half, and reads on.
    HalfClose(usize),
    /// It is carried out, and the connection closes without an answer.
    LoseAnswer,
    /// It is carried out, and the answer changed.
    Edit(Box<dyn Fn(Answer) -> Answer>),
    /// It is carried out, and the connection closes after so many bytes of the answer's body.
    Short(usize),
    /// The same, and the connection stays open.
    Hang(usize),
    /// Nothing, until the client goes away.
    Stall,
    /// Nothing, after so many bytes of its body were read.
    StopReading(usize),
    /// The answer is no HTTP.
    Garbage,
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
    sent: AtomicU64,
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

    /// `early` sees a request's head alone; where it has nothing to say, `late` sees its body too.
    pub fn run(
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
            sent: AtomicU64::new(0),
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

    /// Requests of this method (or any) with `part` in their target; of those to an upload without bodies.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Request> {
        let seen = self.state.seen.lock().unwrap();
        let is_meant = |request: &&Request| {
            (method.is_empty() || request.method == method) && request.target.contains(part)
        };
        seen.iter().filter(is_meant).cloned().collect()
    }

    /// The bytes of all blobs' bodies that came, whole or not.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }

    /// The bytes of blobs that were sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Stores a blob or a manifest under the last part of its path.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.state.store.lock().unwrap().put(name, bytes);
    }

    /// Uploads that were opened, and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.state.store.lock().unwrap().open_uploads()
    }

    /// Loses what is stored under the last part of its path.
    pub fn forget(&self, name: &str) {
        self.state.store.lock().unwrap().forget(name);
    }

    /// The blob that is stored under this digest.
    pub fn stored(&self, digest: &str) -> Option<Vec<u8>> {
        self.state.store.lock().unwrap().stored(digest)
    }
}

impl State {
    /// One request.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut request = read_head(&mut reader)?;
        let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let early = (self.early)(&request);
        if let Some(Fault::Refuse(answer)) = early {
            self.note(&request, 0);
            self.write(stream, &request, answer, Ending::Whole);
            let _ = stream.shutdown(Shutdown::Write);
            return std::io::copy(&mut reader, &mut std::io::sink()).ok().map(|_| ());
        }
        let length = match early {
            Some(
                Fault::Cut(bytes) | Fault::Drop(bytes) | Fault::HalfClose(bytes) | Fault::StopReading(bytes),
            ) => bytes.min(length),
            _ => length,
        };
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        self.note(&request, length);
        let obey = || self.store.lock().unwrap().answer(&request);
        match early.or_else(|| (self.late)(&request)) {
            None => self.write(stream, &request, obey(), Ending::Whole),
            Some(Fault::Say(answer) | Fault::Refuse(answer)) => {
                self.write(stream, &request, answer, Ending::Whole)
            }
            Some(Fault::Cut(_)) => drop(request.is("PATCH", "/uploads/").then(obey)),
            Some(Fault::Drop(_)) => {}
            Some(Fault::HalfClose(_)) => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
            }
            Some(Fault::LoseAnswer) => drop(obey()),
            Some(Fault::Edit(edit)) => self.write(stream, &request, edit(obey()), Ending::Whole),
            Some(Fault::Short(bytes)) => self.write(stream, &request, obey(), Ending::After(bytes)),
            Some(Fault::Hang(bytes)) => {
                self.write(stream, &request, obey(), Ending::After(bytes));
                let _ = reader.read(&mut [0]);
            }
            Some(Fault::Stall) => drop(reader.read(&mut [0])),
            // Longer than any test's client waits: only reading would tell that it is gone.
            Some(Fault::StopReading(_)) => std::thread::sleep(Duration::from_secs(10)),
            Some(Fault::Garbage) => drop(stream.write_all(b"220 mail.example ESMTP\r\n")),
        }
        Some(())
    }

    fn note(&self, request: &Request, length: usize) {
        let mut logged = request.clone();
        if request.target.contains("/uploads/") {
            self.received.fetch_add(length as u64, Ordering::Relaxed);
            logged.body.clear();
        }
        self.seen.lock().unwrap().push(logged);
    }

    fn write(
        &self,
        mut stream: &TcpStream,
        request: &Request,
        Answer(status, headers, mut body): Answer,
        ending: Ending,
    ) {
        let mut head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n");
        if !headers.iter().any(|(key, _)| *key == "Content-Length") && status != 204 {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (key, value) in headers {
            head += &format!("{key}: {value}\r\n");
        }
        match ending {
            _ if request.method == "HEAD" => body.clear(),
            Ending::Whole => {}
            Ending::After(bytes) => body.truncate(bytes),
        }
        if request.is("GET", "/blobs/sha256:") && status < 300 {
            self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
    }
}

/// How much of an answer's body is sent.
enum Ending {
    Whole,
    After(usize),
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
