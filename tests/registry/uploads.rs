//! Uploads, and their resumption by the next run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use carafe::registry::{
    MAX_PARALLEL_UPLOADS, MountCandidates, Registry, RegistryError, RegistryOptions, RetryOptions,
};
use carafe_builder::cache::Cache;
use carafe_builder::progress::Progress;

use crate::clock::QuickClock;
use crate::faulty::{FakeRegistry, Fault, Response};
use crate::images::Image;
use crate::name;
use crate::table::{CHUNK, SIZE, every, image, nth, page};
use crate::tokens::with_tokens_for;

fn registry(server: &FakeRegistry, directory: Option<&tempfile::TempDir>) -> Registry {
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

fn push(server: &FakeRegistry, image: &Image, registry: &Registry) -> Result<u64, RegistryError> {
    let before = server.received();
    let (resolved, target) = (image.resolved(), name(&server.image("a:1")));
    registry.push(&resolved, image, &[target], &MountCandidates::default(), &Progress::silent())?;
    let layer = resolved.manifest.layers[0].digest;
    assert!(server.stored(&layer.to_string()).is_some_and(|bytes| bytes.len() == SIZE), "incomplete");
    // The bytes beyond those of the layer and the config.
    Ok((server.received() - before).saturating_sub(SIZE as u64 + resolved.manifest.config.size))
}

/// The push succeeds despite the fault; at most `max` bytes are sent again.
#[track_caller]
fn survives(server: &FakeRegistry, max: u64) {
    let again = push(server, image(), &registry(server, None)).unwrap();
    assert!(again <= max, "{again} bytes were sent again");
}

#[test]
fn sends_nothing_twice_without_a_fault() {
    let server = FakeRegistry::scripted(|_| None);
    survives(&server, 0);
    let ranges: Vec<_> =
        server.seen("PATCH", "").iter().map(|request| request.headers["content-range"].clone()).collect();
    assert_eq!(ranges, ["0-5242879", "5242880-10485759", "10485760-13107199"]);
}

#[test]
fn resumes_at_the_byte_of_a_reset() {
    let server = FakeRegistry::scripted(nth(2, "PATCH", "", || Fault::Cut(1_000_000)));
    survives(&server, 0);
    let ranges = server.seen("PATCH", "");
    assert_eq!(ranges[2].headers["content-range"], "6242880-11485759");
}

#[test]
fn gives_up_after_many_lost_sessions() {
    let server = FakeRegistry::scripted(every("PATCH", "", || page(404)));
    let error = push(&server, image(), &registry(&server, None)).unwrap_err();
    assert!(matches!(error, RegistryError::Broken { .. }), "{error}");
    assert_eq!(server.seen("PATCH", "").len(), 8);
}

#[test]
fn gives_up_on_a_registry_that_stores_nothing() {
    let server = FakeRegistry::scripted(|request| {
        let response = Response::status(202).with("Range", "0-0");
        request.is("PATCH", "").then_some(Fault::Respond(response))
    });
    push(&server, image(), &registry(&server, None)).unwrap_err();
    assert_eq!(server.seen("PATCH", "").len(), 8);
}

#[test]
fn sends_a_small_blob_in_one_request() {
    let server = FakeRegistry::scripted(nth(2, "PUT", "/uploads/", || page(502)));
    survives(&server, 1 << 10);
    assert_eq!(server.seen("PATCH", "").len(), 3);
}

#[test]
fn respects_the_minimum_chunk_size() {
    let server = FakeRegistry::scripted(|request| {
        let response = Response::status(202).with("Location", "/v2/a/blobs/uploads/session-1");
        request
            .is("POST", "/uploads/")
            .then_some(Fault::Respond(response.with("OCI-Chunk-Min-Length", "30000000")))
    });
    // The session does not exist, so the push fails; only the request matters.
    push(&server, image(), &registry(&server, None)).unwrap_err();
    assert!(server.seen("PATCH", "").is_empty());
    assert_eq!(server.seen("PUT", "session-1")[0].headers["content-length"], SIZE.to_string());
}

#[test]
fn sends_a_blob_in_one_request_if_the_minimum_chunk_size_is_too_large() {
    let server = FakeRegistry::scripted(|request| {
        let response = Response::status(202).with("Location", "/v2/a/blobs/uploads/session-1");
        let response = response.with("OCI-Chunk-Min-Length", "1000000000000");
        request.is("POST", "/uploads/").then_some(Fault::Respond(response))
    });
    push(&server, &Image::new(&[&vec![7; 65 << 20]]), &registry(&server, None)).unwrap_err();
    // One for the chunked upload, and one for each monolithic upload.
    assert_eq!(server.seen("POST", "/uploads/").len(), server.seen("PUT", "session-1").len() + 1);
}

#[test]
fn a_permanent_error_ends_an_upload_at_once() {
    for status in [400, 403, 413] {
        let server = FakeRegistry::scripted(nth(2, "PATCH", "", move || page(status)));
        let error = push(&server, image(), &registry(&server, None)).unwrap_err();
        assert_eq!(server.seen("PATCH", "").len(), 2, "{status}");
        let is_sized = matches!(error, RegistryError::TooLarge { size: CHUNK, .. });
        assert_eq!(is_sized, status == 413, "{error}");
    }
}

#[test]
fn the_next_run_resumes_inside_the_blob() {
    let (directory, count) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
    // From the second chunk on the registry is down, until the first run gives up.
    let server = FakeRegistry::scripted(move |request| {
        let is_late = request.is("PATCH", "") && count.fetch_add(1, Ordering::Relaxed) > 0;
        (is_late && count.load(Ordering::Relaxed) < 10).then_some(Fault::Cut(0))
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
fn drops_a_stored_session_that_does_not_exist_any_more() {
    let (directory, is_gone) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let switch = Arc::clone(&is_gone);
    let server = FakeRegistry::scripted(move |request| match is_gone.load(Ordering::Relaxed) {
        true => request.is("GET", "/session-1").then(|| page(404)),
        false => request.is("PATCH", "").then_some(Fault::Cut(0)),
    });
    push(&server, image(), &registry(&server, Some(&directory))).unwrap_err();
    let requests = server.seen("GET", "/session-1").len();
    switch.store(true, Ordering::Relaxed);
    assert_eq!(push(&server, image(), &registry(&server, Some(&directory))).unwrap(), 0);
    assert_eq!(server.seen("GET", "/session-1").len(), requests + 1);
}

/// A registry with an object store for uploads, and the presigned URL of a session there.
fn with_object_store() -> (FakeRegistry, FakeRegistry) {
    let storage = FakeRegistry::scripted(|_| None);
    let address = storage.address().to_owned();
    let http = std::net::TcpStream::connect(&address).unwrap();
    // The first session of the object store.
    let request = "POST /bucket/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    std::io::Write::write_all(&mut &http, request.as_bytes()).unwrap();
    std::io::Read::read_to_end(&mut &http, &mut Vec::new()).unwrap();
    let location = format!("http://{address}/bucket/blobs/uploads/session-1?X-Signature=s3cret");
    let count = AtomicUsize::new(0);
    let server = FakeRegistry::scripted(move |request| {
        let is_first = request.is("POST", "/uploads/") && count.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| Fault::Respond(Response::status(202).with("Location", location.clone())))
    });
    (server, storage)
}

#[test]
fn an_upload_to_an_object_store_is_not_stored_and_has_no_password() {
    let (directory, (server, storage)) = (tempfile::tempdir().unwrap(), with_object_store());
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
fn replaces_tokens_that_expire_inside_a_blob() {
    let server = with_tokens_for(2);
    let config = image().resolved().manifest.config.size;
    // Each of the three chunks can be rejected once because of an expired token.
    survives(&server, 3 * CHUNK + config);
}

#[test]
fn uploads_at_most_four_blobs_in_parallel() {
    let layers: Vec<[u8; 1]> = (0..8).map(|layer| [layer]).collect();
    let image = Image::new(&layers.iter().map(|layer| &layer[..]).collect::<Vec<_>>());
    let config = image.resolved().manifest.config.digest.hex();
    let requests = Arc::new((Mutex::new(Requests::default()), Condvar::new()));
    let shared = Arc::clone(&requests);
    // The last request of each layer waits for three others.
    let server = FakeRegistry::start(move |request| {
        if request.is("PUT", "/uploads/") && !request.target.contains(&config) {
            let (requests, changed) = &*shared;
            let mut now = requests.lock().unwrap();
            (now.current, now.all) = (now.current + 1, now.all + 1);
            now.max = now.max.max(now.current);
            changed.notify_all();
            let expected = now.all.next_multiple_of(MAX_PARALLEL_UPLOADS);
            let (mut now, _) =
                changed.wait_timeout_while(now, Duration::from_secs(10), |now| now.all < expected).unwrap();
            now.current -= 1;
        }
        None
    });
    let (registry, target) = (registry(&server, None), name(&server.image("a:1")));
    registry
        .push(&image.resolved(), &image, &[target], &MountCandidates::default(), &Progress::silent())
        .unwrap();
    let now = requests.0.lock().unwrap();
    assert_eq!((now.max, now.all), (MAX_PARALLEL_UPLOADS, 8));
}

/// The number of current requests, its maximum, and the number of all requests.
#[derive(Default)]
struct Requests {
    current: usize,
    max: usize,
    all: usize,
}
