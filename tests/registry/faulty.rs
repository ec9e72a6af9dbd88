//! A stand-in for a registry that misbehaves where a test says so. Otherwise it takes every
//! upload, remembers it, and is open to everyone. For what a real one does see `server`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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

type Fault = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// The stand-in. Its threads end with the test's process.
pub struct FaultyServer {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl FaultyServer {
    /// Answers with `fault` where that gives an answer.
    pub fn start(fault: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, stored) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(BTreeMap::new())));
        let (log, fault): (_, Arc<Fault>) = (Arc::clone(&seen), Arc::new(fault));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, fault, stored) = (Arc::clone(&log), Arc::clone(&fault), Arc::clone(&stored));
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    let answer = fault(&request).unwrap_or_else(|| behave(&request, &stored));
                    write(&stream, &request, answer);
                });
            }
        });
        Self { address, seen }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Requests of this method with `part` in their target.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Request> {
        self.seen.lock().unwrap().iter().filter(|request| request.is(method, part)).cloned().collect()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
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
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, target, headers, body })
}

fn write(mut stream: &TcpStream, request: &Request, Answer(status, headers, body): Answer) {
    let mut head = format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n");
    if !headers.iter().any(|(key, _)| *key == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (key, value) in headers {
        head += &format!("{key}: {value}\r\n");
    }
    let body = if request.method == "HEAD" { Vec::new() } else { body };
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", &body].concat());
}

/// What a good registry answers. Blobs and manifests are remembered by the last part of their
/// path; an upload's digest is in its query.
fn behave(request: &Request, stored: &Mutex<BTreeMap<String, Vec<u8>>>) -> Answer {
    let mut stored = stored.lock().unwrap();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let last = path.rsplit('/').next().unwrap_or_default();
    match request.method.as_str() {
        "GET" | "HEAD" if path == "/v2/" => Answer::status(200),
        "GET" | "HEAD" => match stored.get(last) {
            Some(bytes) => Answer::status(200).body(bytes.clone()),
            None => Answer::status(404),
        },
        "POST" => Answer::status(202).with("Location", "/v2/a/blobs/uploads/session"),
        "PUT" => {
            let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
            let key = digest.map_or(last.to_owned(), |digest| digest.replace("%3A", ":"));
            stored.insert(key, request.body.clone());
            Answer::status(201).with("Location", "/v2/a/stored")
        }
        _ => Answer::status(405),
    }
}
