//! The storage and the normal responses of the fake registry.

use std::collections::BTreeMap;

use carafe_layers::digest::Digest;

use crate::faulty::{Request, Response};

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

    /// The number of uploads that were opened, and neither finished nor canceled.
    pub fn open_uploads(&self) -> usize {
        self.sessions.len()
    }

    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        self.stored.insert(name.to_owned(), bytes.to_owned());
    }

    pub fn remove(&mut self, name: &str) {
        self.stored.remove(name);
    }

    pub fn process(&mut self, request: &Request) -> Response {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        match request.method.as_str() {
            "GET" | "HEAD" if path == "/v2/" => Response::status(200),
            _ if path.contains("/blobs/uploads/") => self.upload(request, path, last, query),
            "GET" => match self.stored.get(last) {
                Some(bytes) => part(bytes, request.headers.get("range")),
                None => Response::status(404),
            },
            "HEAD" if self.stored.contains_key(last) => Response::status(200),
            "PUT" => {
                self.stored.insert(last.to_owned(), request.body.clone());
                Response::status(201).with("Location", "/v2/a/stored")
            }
            _ => Response::status(404),
        }
    }

    fn upload(&mut self, request: &Request, path: &str, id: &str, query: &str) -> Response {
        if request.method == "POST" {
            self.opened += 1;
            let id = format!("session-{}", self.opened);
            let location = format!("{path}{id}");
            self.sessions.insert(id, Vec::new());
            return Response::status(202).with("Location", location);
        }
        let Some(bytes) = self.sessions.get_mut(id) else { return Response::status(404) };
        match request.method.as_str() {
            "DELETE" => {
                self.sessions.remove(id);
                Response::status(204)
            }
            "PATCH" => {
                let range = request.headers.get("content-range").and_then(|range| range.split_once('-'));
                if range.is_some_and(|(start, _)| start.parse() != Ok(bytes.len())) {
                    return Response::status(416);
                }
                bytes.extend_from_slice(&request.body);
                progress(202, path, bytes)
            }
            "GET" => progress(204, path, bytes),
            "PUT" => {
                bytes.extend_from_slice(&request.body);
                let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
                let digest = digest.unwrap_or_default().replace("%3A", ":");
                let Some(bytes) = self.sessions.remove(id) else { return Response::status(404) };
                if Digest::of(&bytes).to_string() != digest {
                    return Response::status(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                self.stored.insert(digest, bytes);
                Response::status(201).with("Location", "/v2/a/stored")
            }
            _ => Response::status(405),
        }
    }
}

fn progress(status: u16, path: &str, bytes: &[u8]) -> Response {
    let range = format!("0-{}", bytes.len().saturating_sub(1));
    Response::status(status).with("Location", path).with("Range", range)
}

/// A complete blob, or the requested range.
fn part(bytes: &[u8], range: Option<&String>) -> Response {
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match start {
        None => Response::status(200).body(bytes),
        Some(start) if start >= bytes.len() => Response::status(416),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            Response::status(206).with("Content-Range", range).body(&bytes[start..])
        }
    }
}
