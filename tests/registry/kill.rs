//! `kill -9` in the middle of a blob, against the real registry behind a proxy that buffers each
//! request, as nginx does by default.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use carafe::registry::{MountCandidates, Registry, RegistryOptions, RetryOptions};
use carafe_builder::cache::Cache;
use carafe_builder::progress::Progress;

use crate::endurance::wanted;
use crate::images::Image;
use crate::server::RegistryServer;
use crate::table::CHUNK;
use crate::{inside, name};

/// Of the layer, in mebibytes, and how often its push is killed, unless the environment says more
/// (`scripts/registry-endurance`).
const SMALL: (usize, usize) = (100, 1);
/// Tells the child its cache.
const CACHE: &str = "CARAFE_TEST_CACHE";
const TEST: &str = "kill::a_kill_in_the_middle_of_a_blob_sends_little_again";

/// Hands whole requests on, one to a connection, and counts the bytes that come.
struct Proxy {
    registry: String,
    received: Arc<AtomicU64>,
    /// Of those, what the registry was given.
    passed_on: Arc<AtomicU64>,
    /// It stops reading when it has read so many bytes.
    stops: Vec<u64>,
    /// ProgressTask when the proxy has stopped reading.
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
                // Until the client is dead.
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
        // One request to a connection, on both of its sides.
        let line = request.windows(2).position(|two| two == b"\r\n")?;
        upstream.write_all(&request[..line]).ok()?;
        upstream.write_all(b"\r\nConnection: close").ok()?;
        upstream.write_all(&request[line..]).ok()?;
        self.passed_on.fetch_add(request.len() as u64, Ordering::Relaxed);
        std::io::copy(&mut upstream, &mut client).ok().map(|_| ())
    }
}

/// How much of a request's body is still to come; none while its head is.
fn body_length(request: &[u8]) -> Option<usize> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    Some((end + length.unwrap_or(0)).saturating_sub(request.len()))
}

fn size() -> usize {
    wanted("CARAFE_ENDURANCE_BLOB_MIB", SMALL.0) << 20
}

/// Spread over the blob, each in another part of a chunk: the next run begins at a chunk's first
/// byte.
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
fn a_kill_in_the_middle_of_a_blob_sends_little_again() {
    if let Some(address) = inside() {
        return push(&address);
    }
    let (server, cache) = (RegistryServer::start(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (received, passed_on) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let ((stopped, is_stopped), kills) = (mpsc::sync_channel(1), wanted("CARAFE_ENDURANCE_KILLS", SMALL.1));
    let stops: Vec<u64> = stops(size() as u64 / (kills as u64 + 1), kills as u64).collect();
    let (registry, counts) = (server.address().to_owned(), (Arc::clone(&received), Arc::clone(&passed_on)));
    let proxy = Arc::new(Proxy { registry, received: counts.0, passed_on: counts.1, stops, stopped });
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
    let (received, passed_on) = (received.load(Ordering::Relaxed), passed_on.load(Ordering::Relaxed));
    let size = size() as u64;
    println!("{kills} kills: {size} bytes, {received} at the proxy, {passed_on} at the registry");
    assert!(passed_on > size && passed_on < size * 101 / 100, "{passed_on}");
    assert!(received < size * 11 / 10, "{received}");
}
