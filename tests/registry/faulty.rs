//! A fake registry with faults. Without a fault it follows the distribution specification and requires
//! no authentication. The real registry is in `server`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::store::Store;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it has this method, and `part` in its target.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// A response: status, headers, body.
pub struct Response(pub u16, pub Vec<(&'static str, String)>, pub Vec<u8>);

impl Response {
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

/// What the registry does instead of processing a request normally.
pub enum Fault {
    /// Responds without processing the request.
    Respond(Response),
    /// The same, before the body is read; the body is discarded, as proxies do.
    Refuse(Response),
    /// Closes the connection after this number of bytes of the body. The received part of a chunk is stored.
    Cut(usize),
    /// The same, but nothing is stored.
    Drop(usize),
    /// Closes the sending half of the connection after this number of bytes of the body, and reads the rest.
    HalfClose(usize),
    /// Processes the request, and closes the connection without a response.
    LoseResponse,
    /// Processes the request, and changes the response.
    Edit(Box<dyn Fn(Response) -> Response>),
    /// Processes the request, and closes the connection after this number of bytes of the response body.
    Short(usize),
    /// The same, but the connection stays open.
    Hang(usize),
    /// Does nothing until the client closes the connection.
    Stall,
    /// Does nothing after this number of bytes of the body.
    StopReading(usize),
    /// Responds with something that is not HTTP.
    Garbage,
}

type Script = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// The fake registry. Its threads end with the process of the test.
pub struct FakeRegistry {
    address: String,
    state: Arc<State>,
}

struct State {
    /// Called after the head of a request was read, and again after its body was read.
    early: Box<Script>,
    late: Box<Script>,
    store: Mutex<Store>,
    seen: Mutex<Vec<Request>>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl FakeRegistry {
    /// Responds with the result of `response`, if it is not `None`.
    pub fn start(response: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self::run(|_| None, move |request| response(request).map(Fault::Respond))
    }

    /// Applies the faults of `script`, which gets a request without its body.
    pub fn scripted(script: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self::run(script, |_| None)
    }

    /// `early` gets a request without its body; if it returns `None`, `late` gets it with the body.
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

    /// The requests with this method (empty: any) and `part` in their target. Those to an upload have no body.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Request> {
        let seen = self.state.seen.lock().unwrap();
        let is_meant = |request: &&Request| {
            (method.is_empty() || request.method == method) && request.target.contains(part)
        };
        seen.iter().filter(is_meant).cloned().collect()
    }

    /// The number of bytes that were received in uploads, complete or not.
    pub fn received(&self) -> u64 {
        self.state.received.load(Ordering::Relaxed)
    }

    /// The number of bytes of blobs that were sent.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Stores a blob or a manifest under the last part of its path.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.state.store.lock().unwrap().put(name, bytes);
    }

    /// The number of uploads that were opened, and neither finished nor canceled.
    pub fn open_uploads(&self) -> usize {
        self.state.store.lock().unwrap().open_uploads()
    }

    /// Removes what is stored under the last part of its path.
    pub fn remove(&self, name: &str) {
        self.state.store.lock().unwrap().remove(name);
    }

    /// The blob that is stored under this digest.
    pub fn stored(&self, digest: &str) -> Option<Vec<u8>> {
        self.state.store.lock().unwrap().stored(digest)
    }
}

impl State {
    /// Serves one request.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut request = read_head(&mut reader)?;
        let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let early = (self.early)(&request);
        if let Some(Fault::Refuse(response)) = early {
            self.log(&request, 0);
            self.write(stream, &request, response, Ending::Complete);
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
        self.log(&request, length);
        let process = || self.store.lock().unwrap().process(&request);
        match early.or_else(|| (self.late)(&request)) {
            None => self.write(stream, &request, process(), Ending::Complete),
            Some(Fault::Respond(response) | Fault::Refuse(response)) => {
                self.write(stream, &request, response, Ending::Complete)
            }
            Some(Fault::Cut(_)) => drop(request.is("PATCH", "/uploads/").then(process)),
            Some(Fault::Drop(_)) => {}
            Some(Fault::HalfClose(_)) => {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
            }
            Some(Fault::LoseResponse) => drop(process()),
            Some(Fault::Edit(edit)) => self.write(stream, &request, edit(process()), Ending::Complete),
            Some(Fault::Short(bytes)) => self.write(stream, &request, process(), Ending::After(bytes)),
            Some(Fault::Hang(bytes)) => {
                self.write(stream, &request, process(), Ending::After(bytes));
                let _ = reader.read(&mut [0]);
            }
            Some(Fault::Stall) => drop(reader.read(&mut [0])),
            // Longer than the client of any test waits. Without reading, the server cannot detect its end.
            Some(Fault::StopReading(_)) => std::thread::sleep(Duration::from_secs(10)),
            Some(Fault::Garbage) => drop(stream.write_all(b"220 mail.example ESMTP\r\n")),
        }
        Some(())
    }

    fn log(&self, request: &Request, length: usize) {
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
        Response(status, headers, mut body): Response,
        ending: Ending,
    ) {
        let mut head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        if !headers.iter().any(|(key, _)| *key == "Content-Length") && status != 204 {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (key, value) in headers {
            head += &format!("{key}: {value}\r\n");
        }
        match ending {
            _ if request.method == "HEAD" => body.clear(),
            Ending::Complete => {}
            Ending::After(bytes) => body.truncate(bytes),
        }
        if request.is("GET", "/blobs/sha256:") && status < 300 {
            self.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
    }
}

/// How much of a response body is sent.
enum Ending {
    Complete,
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
