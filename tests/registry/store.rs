//! What a registry that keeps to the specification stores and answers.

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;

use crate::faulty::{Answer, Request};

/// Blobs and manifests by the last part of their path, and upload sessions.
#[derive(Default)]
pub struct Store {
    stored: BTreeMap<String, Vec<u8>>,
    sessions: BTreeMap<String, Vec<u8>>,
    opened: usize,
}

impl Store {
    pub fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.stored.get(name).cloned()
    }

    /// Uploads that were opened, and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.sessions.len()
    }

    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        self.stored.insert(name.to_owned(), bytes.to_owned());
    }

    pub fn forget(&mut self, name: &str) {
        self.stored.remove(name);
    }

    pub fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        match request.method.as_str() {
            "GET" | "HEAD" if path == "/v2/" => Answer::status(200),
            _ if path.contains("/blobs/uploads/") => self.upload(request, path, last, query),
            "GET" => match self.stored.get(last) {
                Some(bytes) => part(bytes, request.headers.get("range")),
                None => Answer::status(404),
            },
            "HEAD" if self.stored.contains_key(last) => Answer::status(200),
            "PUT" => {
                self.stored.insert(last.to_owned(), request.body.clone());
                Answer::status(201).with("Location", "/v2/a/stored")
            }
            _ => Answer::status(404),
        }
    }

    fn upload(&mut self, request: &Request, path: &str, id: &str, query: &str) -> Answer {
        if request.method == "POST" {
            self.opened += 1;
            let id = format!("session-{}", self.opened);
            let location = format!("{path}{id}");
            self.sessions.insert(id, Vec::new());
            return Answer::status(202).with("Location", location);
        }
        let Some(bytes) = self.sessions.get_mut(id) else { return Answer::status(404) };
        match request.method.as_str() {
            "DELETE" => {
                self.sessions.remove(id);
                Answer::status(204)
            }
            "PATCH" => {
                let range = request.headers.get("content-range").and_then(|range| range.split_once('-'));
                if range.is_some_and(|(start, _)| start.parse() != Ok(bytes.len())) {
                    return Answer::status(416);
                }
                bytes.extend_from_slice(&request.body);
                progress(202, path, bytes)
            }
            "GET" => progress(204, path, bytes),
            "PUT" => {
                bytes.extend_from_slice(&request.body);
                let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
                let digest = digest.unwrap_or_default().replace("%3A", ":");
                let Some(bytes) = self.sessions.remove(id) else { return Answer::status(404) };
                if Digest::of(&bytes).to_string() != digest {
                    return Answer::status(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.stored.insert(digest, bytes);
                Answer::status(201).with("Location", "/v2/a/stored")
            }
            _ => Answer::status(405),
        }
    }
}

fn progress(status: u16, path: &str, bytes: &[u8]) -> Answer {
    let range = format!("0-{}", bytes.len().saturating_sub(1));
    Answer::status(status).with("Location", path).with("Range", range)
}

/// All of a blob, or from where it was asked for.
fn part(bytes: &[u8], range: Option<&String>) -> Answer {
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match start {
        None => Answer::status(200).body(bytes),
        Some(start) if start >= bytes.len() => Answer::status(416),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            Answer::status(206).with("Content-Range", range).body(&bytes[start..])
        }
    }
}
