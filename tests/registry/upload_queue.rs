//! Background uploads, and the push at their end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use carafe::registry::{
    Delivery, MountCandidates, PendingPush, PushReport, Registry, RegistryError, RegistryOptions,
};
use carafe_builder::progress::{Event, Progress, Sink};
use carafe_layers::graph::Graph;
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, SourceError, resolve};

use crate::faulty::{FakeRegistry, Fault, Response};
use crate::images::Image;
use crate::server::RegistryServer;
use crate::{client, name, quick};

/// Collects all events.
#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl Sink for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    fn warnings(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let warnings = events.iter().filter_map(|event| match event {
            Event::Warning { message } => Some(message.clone()),
            _ => None,
        });
        warnings.collect()
    }

    fn is_abandoned(&self) -> bool {
        self.0.lock().unwrap().iter().any(|event| matches!(event, Event::Abandoned { .. }))
    }

    /// The total and the completed number of bytes.
    fn amounts(&self) -> (u64, u64) {
        self.0.lock().unwrap().iter().fold((0, 0), |(total, done), event| match event {
            Event::Started { total: Some(amount), .. } | Event::Extended { amount, .. } => {
                (total + amount, done)
            }
            Event::Advanced { amount, .. } => (total, done + amount),
            _ => (total, done),
        })
    }
}

fn begin(registry: &Registry, targets: &[String]) -> (PendingPush, Arc<Events>) {
    let targets: Vec<_> = targets.iter().map(|target| name(target)).collect();
    let events = Arc::<Events>::default();
    let push = registry.start_push(&targets, &Progress::new(Arc::clone(&events) as _)).unwrap();
    (push, events)
}

/// Uploads layers of `image` in the background.
fn send(push: &PendingPush, image: &Image, layers: &[usize]) {
    for layer in layers.iter().map(|&index| image.resolved().manifest.layers[index].clone()) {
        let (image, blob) = (image.clone(), layer.clone());
        push.send(&layer, &MountCandidates::default(), move || image.blob(&blob));
    }
}

fn finish(push: PendingPush, image: &Image) -> Result<Vec<PushReport>, RegistryError> {
    push.finish(&Graph::of(&image.resolved()), image, &MountCandidates::default())
}

fn deliveries(report: &PushReport) -> Vec<Delivery> {
    report.blobs.iter().map(|blob| blob.delivery.clone()).collect()
}

fn layer(image: &Image, index: usize) -> String {
    image.resolved().manifest.layers[index].digest.to_string()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "timeout");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a real registry has the blob.
fn has_blob(server: &RegistryServer, repository: &str, digest: &str) -> bool {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("HEAD /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.starts_with("HTTP/1.1 200")
}

#[test]
fn uploads_blobs_before_the_image_is_complete_without_a_tag() {
    let (server, image) = (FakeRegistry::start(|_| None), Image::new(&[b"base", b"ours", b"last"]));
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0, 1]);
    wait_until(|| (0..2).all(|index| server.stored(&layer(&image, index)).is_some()));
    assert_eq!(server.stored("1"), None);
    let reports = finish(push, &image).unwrap();
    // Reported as sent, although the final push found two of them in the registry.
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 4]);
    assert_eq!(server.stored("1"), Some(image.resolved().manifest_bytes));
    let sizes: u64 = reports[0].blobs.iter().map(|blob| blob.descriptor.size).sum();
    assert_eq!((server.received(), events.amounts()), (sizes, (sizes, sizes)));
}

#[test]
fn a_background_upload_is_mounted_in_the_second_repository() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let registry = client(server.address());
    let (push, _) = begin(&registry, &["a:1", "b:1", "a:2"].map(|text| server.image(text)));
    send(&push, &image, &[0, 1, 0]);
    wait_until(|| (0..2).all(|index| has_blob(&server, "b", &layer(&image, index))));
    let reports = finish(push, &image).unwrap();
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 3]);
    let is_mounted = |delivery: &Delivery| matches!(delivery, Delivery::Mounted { .. });
    assert!(deliveries(&reports[1]).iter().all(is_mounted), "{reports:?}");
    for target in ["a:1", "a:2", "b:1"] {
        resolve(&registry.source(&name(&server.image(target))), &Platform::host()).unwrap();
    }
}

#[test]
fn skips_existing_blobs_and_sends_the_missing_ones() {
    let (server, image) = (FakeRegistry::start(|_| None), Image::new(&[b"one", b"two"]));
    let registry = client(server.address());
    finish(begin(&registry, &[server.image("a:1")]).0, &Image::new(&[b"one"])).unwrap();
    let (push, events) = begin(&registry, &[server.image("a:2")]);
    send(&push, &image, &[0]);
    let size = image.resolved().manifest.layers[0].size;
    wait_until(|| events.amounts().1 == size);
    let reports = finish(push, &image).unwrap();
    assert_eq!(deliveries(&reports[0]), [Delivery::Skipped, Delivery::Sent, Delivery::Sent]);
    assert_eq!(events.amounts().0, events.amounts().1);
}

#[test]
fn a_failed_background_upload_is_a_warning_and_is_repeated() {
    let (server, image) = (FakeRegistry::start(|_| None), Image::new(&[b"one", b"two"]));
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    // The blob cannot be read any more.
    push.send(&image.resolved().manifest.layers[0], &MountCandidates::default(), || {
        let source = std::io::Error::other("the disk is gone");
        Err(SourceError::Io { path: "layer".to_owned(), source })
    });
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 3]);
    let warned = events.warnings();
    assert!(
        warned.len() == 1 && warned[0].contains("the disk is gone; retrying when the image is complete"),
        "{warned:?}"
    );
}

#[test]
fn does_not_count_an_interrupted_background_upload_twice() {
    const CHUNK: usize = 5 << 20;
    let large: Vec<u8> = (0..2 * CHUNK + 7).map(|place| (place / 251) as u8).collect();
    let (image, chunks) = (Image::new(&[&large]), AtomicUsize::new(0));
    let server = FakeRegistry::scripted(move |request| {
        let is_second = request.method == "PATCH" && chunks.fetch_add(1, Ordering::Relaxed) == 1;
        is_second.then(|| Fault::Refuse(Response::status(403)))
    });
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !events.warnings().is_empty());
    assert!(events.amounts().1 >= CHUNK as u64, "no progress");
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 2]);
    assert_eq!(events.amounts().0, events.amounts().1);
}

/// A client that uses plain HTTP for all of these.
fn client_of(servers: &[&FakeRegistry]) -> Registry {
    let insecure = servers.iter().map(|server| server.address().to_owned()).collect();
    Registry::new(RegistryOptions { insecure, retries: quick(), ..RegistryOptions::default() }).unwrap()
}

/// A registry that rejects and counts all uploads.
fn rejecting(rejected: &Arc<AtomicUsize>) -> FakeRegistry {
    let rejected = Arc::clone(rejected);
    FakeRegistry::start(move |request| {
        let is_upload = request.is("POST", "/uploads/");
        rejected.fetch_add(is_upload.into(), Ordering::Relaxed);
        is_upload.then(|| Response::status(403))
    })
}

#[test]
fn a_rejection_stops_background_uploads() {
    let (image, rejected) = (Image::new(&[b"one", b"two", b"three"]), Arc::default());
    let server = rejecting(&rejected);
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !events.warnings().is_empty());
    send(&push, &image, &[1, 2]);
    // The final push tries it again.
    let error = finish(push, &image).unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
    assert!((2..=4).contains(&rejected.load(Ordering::Relaxed)), "{rejected:?}");
    assert_eq!((events.warnings().len(), server.stored("1")), (1, None));
}

#[test]
fn sends_a_blob_again_that_the_registry_has_lost() {
    let (server, image) = (FakeRegistry::start(|_| None), Image::new(&[b"one", b"two"]));
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| events.amounts().1 > 0);
    server.remove(&layer(&image, 0));
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 3]);
    assert_eq!(server.stored(&layer(&image, 0)), Some(b"one".to_vec()));
    assert_eq!(events.amounts().0, events.amounts().1);
}

#[test]
fn a_failed_build_does_not_wait_for_background_uploads() {
    let (server, image) = (
        FakeRegistry::scripted(|request| request.is("POST", "/uploads/").then_some(Fault::Stall)),
        Image::new(&[b"one"]),
    );
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !server.seen("POST", "/uploads/").is_empty());
    drop(push);
    assert!(events.is_abandoned());
}

#[test]
fn the_early_check_fails_if_no_registry_accepts_a_push() {
    let (one, other) = (rejecting(&Arc::default()), rejecting(&Arc::default()));
    let (push, _) = begin(&client_of(&[&one, &other]), &[one.image("a:1"), other.image("b:1")]);
    let error = push.check().unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
}

#[test]
fn a_failed_registry_does_not_stop_the_others() {
    let (closed, open) = (rejecting(&Arc::default()), FakeRegistry::start(|_| None));
    let image = Image::new(&[b"one", b"two"]);
    let (push, events) = begin(&client_of(&[&closed, &open]), &[closed.image("a:1"), open.image("a:1")]);
    push.check().unwrap();
    assert_eq!(events.warnings().len(), 1, "{:?}", events.warnings());
    send(&push, &image, &[0]);
    wait_until(|| open.stored(&layer(&image, 0)).is_some());
    let error = finish(push, &image).unwrap_err();
    let RegistryError::PartialPush { done, failed, .. } = error else { panic!("{error}") };
    assert_eq!((done.len(), failed.len()), (1, 1));
    assert_eq!(deliveries(&done[0]), vec![Delivery::Sent; 3]);
    assert_eq!((closed.stored("1"), open.stored("1").is_some()), (None, true));
}

#[test]
fn the_early_check_leaves_no_upload_behind() {
    let server = FakeRegistry::start(|_| None);
    let (push, _) = begin(&client(server.address()), &[server.image("a:1"), server.image("b:1")]);
    push.check().unwrap();
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn the_early_check_ignores_a_busy_registry() {
    let rejected = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rejected);
    let server = FakeRegistry::start(move |request| {
        let is_upload = request.is("POST", "/uploads/");
        (is_upload && count.fetch_add(1, Ordering::Relaxed) == 0).then(|| Response::status(503))
    });
    let (push, events) = begin(&client(server.address()), &[server.image("a:1")]);
    push.check().unwrap();
    assert_eq!((rejected.load(Ordering::Relaxed), events.warnings()), (1, vec![]));
    finish(push, &Image::new(&[b"one"])).unwrap();
}
