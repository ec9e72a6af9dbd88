//! What uploads ask for, and what the next run makes of one that broke off.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use carafe::registry::{
    MAX_PARALLEL_UPLOADS, MountCandidates, Registry, RegistryError, RegistryOptions, RetryOptions,
};
use carafe_builder::cache::Cache;
use carafe_builder::progress::Progress;

use crate::clock::QuickClock;
use crate::faulty::{Answer, Fault, FaultyServer};
use crate::images::Image;
use crate::name;
use crate::table::{CHUNK, SIZE, every, image, nth, page};
use crate::tokens::with_tokens_for;

fn registry(server: &FaultyServer, directory: Option<&tempfile::TempDir>) -> Registry {
    let retries = RetryOptions::default().with_clock(Arc::<QuickClock>::default());
    let options = RegistryOptions {
        insecure: [server.address().to_owned()].into(),
        retries,
        uploads: directory
            .map(|directory| Cache::at(directory.path()).unwrap().bucket("uploads", 1).unwrap()),
        ..RegistryOptions::default()
    };
    Registry::new(options).unwrap()
}

fn push(server: &FaultyServer, image: &Image, registry: &Registry) -> Result<u64, RegistryError> {
    let before = server.received();
    let (resolved, target) = (image.resolved(), name(&server.image("a:1")));
    registry.push(&resolved, image, &[target], &MountCandidates::default(), &Progress::silent())?;
    let layer = resolved.manifest.layers[0].digest;
    assert!(server.stored(&layer.to_string()).is_some_and(|bytes| bytes.len() == SIZE), "not whole");
    // Beyond the layer's and the config's own bytes.
    Ok((server.received() - before).saturating_sub(SIZE as u64 + resolved.manifest.config.size))
}

/// The push succeeds in spite of the fault; at most `most` bytes are sent again.
#[track_caller]
fn survives(server: &FaultyServer, most: u64) {
    let again = push(server, image(), &registry(server, None)).unwrap();
    assert!(again <= most, "{again} bytes were sent again");
}

#[test]
fn without_a_fault_nothing_is_sent_twice() {
    let server = FaultyServer::scripted(|_| None);
    survives(&server, 0);
    let ranges: Vec<_> =
        server.seen("PATCH", "").iter().map(|request| request.headers["content-range"].clone()).collect();
    assert_eq!(ranges, ["0-5242879", "5242880-10485759", "10485760-13107199"]);
}

#[test]
fn a_reset_in_the_middle_of_a_chunk_goes_on_there() {
    let server = FaultyServer::scripted(nth(2, "PATCH", "", || Fault::Cut(1_000_000)));
    survives(&server, 0);
    let ranges = server.seen("PATCH", "");
    assert_eq!(ranges[2].headers["content-range"], "6242880-11485759");
}

#[test]
fn sessions_that_are_always_lost_are_given_up() {
    let server = FaultyServer::scripted(every("PATCH", "", || page(404)));
    let error = push(&server, image(), &registry(&server, None)).unwrap_err();
    assert!(matches!(error, RegistryError::Broken { .. }), "{error}");
    assert_eq!(server.seen("PATCH", "").len(), 8);
}

#[test]
fn a_registry_that_takes_nothing_is_given_up() {
    let server = FaultyServer::scripted(|request| {
        let answer = Answer::status(202).with("Range", "0-0");
        request.is("PATCH", "").then_some(Fault::Say(answer))
    });
    push(&server, image(), &registry(&server, None)).unwrap_err();
    assert_eq!(server.seen("PATCH", "").len(), 8);
}

#[test]
fn a_small_blob_goes_in_one_request_and_is_sent_again_whole() {
    let server = FaultyServer::scripted(nth(2, "PUT", "/uploads/", || page(502)));
    survives(&server, 1 << 10);
    assert_eq!(server.seen("PATCH", "").len(), 3);
}

#[test]
fn a_registrys_minimum_is_kept_to() {
    let server = FaultyServer::scripted(|request| {
        let answer = Answer::status(202).with("Location", "/v2/a/blobs/uploads/session-1");
        request.is("POST", "/uploads/").then_some(Fault::Say(answer.with("OCI-Chunk-Min-Length", "30000000")))
    });
    // That session does not exist, and so the push fails; what it was asked is what counts.
    push(&server, image(), &registry(&server, None)).unwrap_err();
    assert!(server.seen("PATCH", "").is_empty());
    assert_eq!(server.seen("PUT", "session-1")[0].headers["content-length"], SIZE.to_string());
}

#[test]
fn a_minimum_beyond_measure_makes_no_chunk_of_a_large_blob() {
    let server = FaultyServer::scripted(|request| {
        let answer = Answer::status(202).with("Location", "/v2/a/blobs/uploads/session-1");
        let answer = answer.with("OCI-Chunk-Min-Length", "1000000000000");
        request.is("POST", "/uploads/").then_some(Fault::Say(answer))
    });
    push(&server, &Image::new(&[&vec![7; 65 << 20]]), &registry(&server, None)).unwrap_err();
    // Once to learn of the minimum, and once for each request that the blob is streamed in.
    assert_eq!(server.seen("POST", "/uploads/").len(), server.seen("PUT", "session-1").len() + 1);
}

#[test]
fn what_is_final_ends_an_upload_at_once() {
    for status in [400, 403, 413] {
        let server = FaultyServer::scripted(nth(2, "PATCH", "", move || page(status)));
        let error = push(&server, image(), &registry(&server, None)).unwrap_err();
        assert_eq!(server.seen("PATCH", "").len(), 2, "{status}");
        let is_sized = matches!(error, RegistryError::TooLarge { size: CHUNK, .. });
        assert_eq!(is_sized, status == 413, "{error}");
    }
}

#[test]
fn the_next_run_goes_on_inside_the_blob() {
    let (directory, seen_hosts) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    // From the second chunk on the registry is down, until the first run gives up.
    let server = FaultyServer::scripted(move |request| {
        let is_late = request.is("PATCH", "") && seen_hosts.fetch_add(1, Ordering::Relaxed) > 0;
        (is_late && seen_hosts.load(Ordering::Relaxed) < 10).then_some(Fault::Cut(0))
    });
    push(&server, image(), &registry(&server, Some(&directory))).unwrap_err();
    assert_eq!(server.received(), CHUNK);
    push(&server, image(), &registry(&server, Some(&directory))).unwrap();
    let config = image().resolved().manifest.config.size;
    assert_eq!(server.received(), SIZE as u64 + config);
    let left = std::fs::read_dir(directory.path().join("uploads-v1")).unwrap().flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().ends_with(".json")));
}

#[test]
fn a_noted_session_that_is_gone_is_forgotten() {
    let (directory, is_gone) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let switch = Arc::clone(&is_gone);
    let server = FaultyServer::scripted(move |request| match is_gone.load(Ordering::Relaxed) {
        true => request.is("GET", "/session-1").then(|| page(404)),
        false => request.is("PATCH", "").then_some(Fault::Cut(0)),
    });
    push(&server, image(), &registry(&server, Some(&directory))).unwrap_err();
    let asked = server.seen("GET", "/session-1").len();
    switch.store(true, Ordering::Relaxed);
    assert_eq!(push(&server, image(), &registry(&server, Some(&directory))).unwrap(), 0);
    assert_eq!(server.seen("GET", "/session-1").len(), asked + 1);
}

/// A registry that sends uploads to a storage, with the signed URL of a session there.
fn beside_a_storage() -> (FaultyServer, FaultyServer) {
    let storage = FaultyServer::scripted(|_| None);
    let address = storage.address().to_owned();
    let http = std::net::TcpStream::connect(&address).unwrap();
    // The storage's own first session.
    let request = "POST /bucket/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    std::io::Write::write_all(&mut &http, request.as_bytes()).unwrap();
    std::io::Read::read_to_end(&mut &http, &mut Vec::new()).unwrap();
    let location = format!("http://{address}/bucket/blobs/uploads/session-1?X-Signature=s3cret");
    let seen_hosts = AtomicUsize::new(0);
    let server = FaultyServer::scripted(move |request| {
        let is_first = request.is("POST", "/uploads/") && seen_hosts.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| Fault::Say(Answer::status(202).with("Location", location.clone())))
    });
    (server, storage)
}

#[test]
fn an_upload_at_a_storage_is_not_noted_and_sees_no_password() {
    let (directory, (server, storage)) = (tempfile::tempdir().unwrap(), beside_a_storage());
    let image = image();
    let registry = registry(&server, Some(&directory));
    let target = [name(&server.image("a:1"))];
    registry
        .push(&image.resolved(), image, &target, &MountCandidates::default(), &Progress::silent())
        .unwrap();
    assert_eq!(storage.received(), SIZE as u64);
    assert!(storage.seen("PATCH", "").iter().all(|request| !request.headers.contains_key("authorization")));
    for entry in std::fs::read_dir(directory.path().join("uploads-v1")).unwrap().flatten() {
        assert!(!std::fs::read_to_string(entry.path()).unwrap().contains("s3cret"));
    }
}

#[test]
fn tokens_that_end_in_the_middle_of_a_blob_are_exchanged() {
    let server = with_tokens_for(2);
    let config = image().resolved().manifest.config.size;
    // Each of the three chunks may meet an old token once.
    survives(&server, 3 * CHUNK + config);
}

#[test]
fn four_blobs_are_on_their_way_to_a_registry_and_no_more() {
    let layers: Vec<[u8; 1]> = (0..8).map(|layer| [layer]).collect();
    let image = Image::new(&layers.iter().map(|layer| &layer[..]).collect::<Vec<_>>());
    let config = image.resolved().manifest.config.digest.hex();
    let meeting = Arc::new((Mutex::new(Meeting::default()), Condvar::new()));
    let shared = Arc::clone(&meeting);
    // Each layer's last request waits for three others.
    let server = FaultyServer::start(move |request| {
        if request.is("PUT", "/uploads/") && !request.target.contains(&config) {
            let (meeting, came) = &*shared;
            let mut now = meeting.lock().unwrap();
            (now.here, now.came) = (now.here + 1, now.came + 1);
            now.most = now.most.max(now.here);
            came.notify_all();
            let all = now.came.next_multiple_of(MAX_PARALLEL_UPLOADS);
            let (mut now, _) =
                came.wait_timeout_while(now, Duration::from_secs(10), |now| now.came < all).unwrap();
            now.here -= 1;
        }
        None
    });
    let (registry, target) = (registry(&server, None), name(&server.image("a:1")));
    registry
        .push(&image.resolved(), &image, &[target], &MountCandidates::default(), &Progress::silent())
        .unwrap();
    let now = meeting.0.lock().unwrap();
    assert_eq!((now.most, now.came), (MAX_PARALLEL_UPLOADS, 8));
}

/// Requests that are being answered, the most that were, and all that came.
#[derive(Default)]
struct Meeting {
    here: usize,
    most: usize,
    came: usize,
}
