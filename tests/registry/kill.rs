//! `kill -9` in the middle of a blob. The real registry is behind a proxy that buffers each request, as
//! nginx does by default.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use carafe::registry::{MountCandidates, Registry, RegistryOptions, RetryOptions};
use carafe_builder::cache::Cache;
use carafe_builder::progress::Progress;

use crate::endurance::setting;
use crate::images::Image;
use crate::server::RegistryServer;
use crate::table::CHUNK;
use crate::{inside, name};

/// The size of the layer in MiB, and the number of kills, unless the environment has other values
/// (`scripts/registry-endurance`).
const SMALL: (usize, usize) = (100, 1);
/// The environment variable with the cache of the child process.
const CACHE: &str = "CARAFE_TEST_CACHE";
const TEST: &str = "kill::resumes_inside_a_blob_after_a_kill";

/// Forwards complete requests, one per connection, and counts the received bytes.
struct Proxy {
    registry: String,
    received: Arc<AtomicU64>,
    /// The bytes that were forwarded to the registry.
    forwarded: Arc<AtomicU64>,
    /// It stops reading after these numbers of bytes.
    stops: Vec<u64>,
    /// Notified when the proxy has stopped reading.
    stopped: mpsc::SyncSender<()>,
}

impl Proxy {
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let (mut request, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        let mut missing = None;
        while missing != Some(0) {
            let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
            let before = self.received.fetch_add(count as u64, Ordering::Relaxed);
            request.extend_from_slice(&piece[..count]);
            let after = before + count as u64;
            if self.stops.iter().any(|stop| (before + 1..=after).contains(stop)) {
                let _ = self.stopped.send(());
                // Until the client was killed.
                while client.read(&mut piece).is_ok_and(|count| count > 0) {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                return None;
            }
            missing = match missing {
                Some(missing) => Some(missing - count),
                None => body_length(&request),
            };
        }
        let mut upstream = TcpStream::connect(&self.registry).ok()?;
        // One request per connection, on both sides.
        let line = request.windows(2).position(|two| two == b"\r\n")?;
        upstream.write_all(&request[..line]).ok()?;
        upstream.write_all(b"\r\nConnection: close").ok()?;
        upstream.write_all(&request[line..]).ok()?;
        self.forwarded.fetch_add(request.len() as u64, Ordering::Relaxed);
        std::io::copy(&mut upstream, &mut client).ok().map(|_| ())
    }
}

/// The number of bytes of the request body that are missing; `None` before the end of the head.
fn body_length(request: &[u8]) -> Option<usize> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some((end + length.unwrap_or(0)).saturating_sub(request.len()))
}

fn size() -> usize {
    setting("CARAFE_ENDURANCE_BLOB_MIB", SMALL.0) << 20
}

/// Offsets spread over the blob, each in another part of a chunk: the next run starts at the first byte
/// of a chunk.
fn stops(gap: u64, kills: u64) -> impl Iterator<Item = u64> {
    let part = |nth: u64| CHUNK * (nth * 37 % 100) / 100;
    (1..=kills).scan(0, move |at, nth| {
        *at += gap / CHUNK * CHUNK + part(nth);
        Some(*at)
    })
}

fn push(address: &str) {
    let mut bytes = vec![0; size()];
    bytes.chunks_mut(1 << 16).enumerate().for_each(|(index, piece)| piece.fill(index as u8));
    let image = Image::new(&[&bytes]);
    let cache = Cache::at(std::env::var_os(CACHE).unwrap().as_ref()).unwrap();
    let options = RegistryOptions {
        insecure: [address.to_owned()].into(),
        retries: RetryOptions::new(Progress::silent()),
        uploads: Some(cache.bucket("uploads", 1).unwrap()),
        ..RegistryOptions::default()
    };
    let target = name(&format!("{address}/a:1"));
    let registry = Registry::new(options).unwrap();
    registry
        .push(&image.resolved(), &image, &[target], &MountCandidates::default(), &Progress::silent())
        .unwrap();
}

#[test]
fn resumes_inside_a_blob_after_a_kill() {
    if let Some(address) = inside() {
        return push(&address);
    }
    let (server, cache) = (RegistryServer::start(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (received, forwarded) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let ((stopped, is_stopped), kills) = (mpsc::sync_channel(1), setting("CARAFE_ENDURANCE_KILLS", SMALL.1));
    let stops: Vec<u64> = stops(size() as u64 / (kills as u64 + 1), kills as u64).collect();
    let (registry, counts) = (server.address().to_owned(), (Arc::clone(&received), Arc::clone(&forwarded)));
    let proxy = Arc::new(Proxy { registry, received: counts.0, forwarded: counts.1, stops, stopped });
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let proxy = Arc::clone(&proxy);
            std::thread::spawn(move || proxy.serve(client));
        }
    });
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TEST]).env("CARAFE_TEST_ADDRESS", &address).env(CACHE, cache.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for _ in 0..kills {
        let mut child = start();
        is_stopped.recv().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(start().wait().unwrap().success());
    let (received, forwarded) = (received.load(Ordering::Relaxed), forwarded.load(Ordering::Relaxed));
    let size = size() as u64;
    println!("{kills} kills: {size} bytes, {received} at the proxy, {forwarded} at the registry");
    assert!(forwarded > size && forwarded < size * 101 / 100, "{forwarded}");
    assert!(received < size * 11 / 10, "{received}");
}
