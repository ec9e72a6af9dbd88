//! Blobs that go ahead of their image, and the push that ends what they began.

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

use crate::faulty::{Answer, Fault, FaultyServer};
use crate::images::Image;
use crate::server::RegistryServer;
use crate::{client, name, quick};

/// Keeps all that is told.
#[derive(Default)]
struct ProgressTask(Mutex<Vec<Event>>);

impl Sink for ProgressTask {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl ProgressTask {
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

    /// What was to be done, and what was done.
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

fn begin(registry: &Registry, targets: &[String]) -> (PendingPush, Arc<ProgressTask>) {
    let targets: Vec<_> = targets.iter().map(|target| name(target)).collect();
    let told = Arc::<ProgressTask>::default();
    let push = registry.start_push(&targets, &Progress::new(Arc::clone(&told) as _)).unwrap();
    (push, told)
}

/// The layers of `image` that are ready; its documents are not known yet.
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
        assert!(since.elapsed() < Duration::from_secs(60), "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a real registry has it.
fn has_blob(server: &RegistryServer, repository: &str, digest: &str) -> bool {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("HEAD /v2/{repository}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn blobs_arrive_before_their_image_is_known_and_no_name_points_at_them() {
    let (server, image) = (FaultyServer::start(|_| None), Image::new(&[b"base", b"ours", b"last"]));
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0, 1]);
    wait_until(|| (0..2).all(|index| server.stored(&layer(&image, index)).is_some()));
    assert_eq!(server.stored("1"), None);
    let reports = finish(push, &image).unwrap();
    // Sent, and not "skipped", though the push that ended it found two of them there.
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 4]);
    assert_eq!(server.stored("1"), Some(image.resolved().manifest_bytes));
    let sizes: u64 = reports[0].blobs.iter().map(|blob| blob.descriptor.size).sum();
    assert_eq!((server.received(), told.amounts()), (sizes, (sizes, sizes)));
}

#[test]
fn a_blob_is_sent_ahead_to_every_repository_and_mounted_in_the_second() {
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
fn what_was_there_already_is_skipped_and_what_was_not_sent_ahead_is_sent() {
    let (server, image) = (FaultyServer::start(|_| None), Image::new(&[b"one", b"two"]));
    let registry = client(server.address());
    finish(begin(&registry, &[server.image("a:1")]).0, &Image::new(&[b"one"])).unwrap();
    let (push, told) = begin(&registry, &[server.image("a:2")]);
    send(&push, &image, &[0]);
    let size = image.resolved().manifest.layers[0].size;
    wait_until(|| told.amounts().1 == size);
    let reports = finish(push, &image).unwrap();
    assert_eq!(deliveries(&reports[0]), [Delivery::Skipped, Delivery::Sent, Delivery::Sent]);
    assert_eq!(told.amounts().0, told.amounts().1);
}

#[test]
fn what_cannot_go_ahead_is_a_warning_with_its_cause_and_goes_with_the_image() {
    let (server, image) = (FaultyServer::start(|_| None), Image::new(&[b"one", b"two"]));
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    // Its bytes went away.
    push.send(&image.resolved().manifest.layers[0], &MountCandidates::default(), || {
        let source = std::io::Error::other("the disk is gone");
        Err(SourceError::Io { path: "layer".to_owned(), source })
    });
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 3]);
    let warned = told.warnings();
    assert!(
        warned.len() == 1 && warned[0].contains("the disk is gone; it is tried again when the image is done"),
        "{warned:?}"
    );
}

#[test]
fn what_broke_off_ahead_is_not_counted_twice() {
    const CHUNK: usize = 5 << 20;
    let large: Vec<u8> = (0..2 * CHUNK + 7).map(|place| (place / 251) as u8).collect();
    let (image, chunks) = (Image::new(&[&large]), AtomicUsize::new(0));
    let server = FaultyServer::scripted(move |request| {
        let is_second = request.method == "PATCH" && chunks.fetch_add(1, Ordering::Relaxed) == 1;
        is_second.then(|| Fault::Refuse(Answer::status(403)))
    });
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !told.warnings().is_empty());
    assert!(told.amounts().1 >= CHUNK as u64, "it got somewhere");
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 2]);
    assert_eq!(told.amounts().0, told.amounts().1);
}

/// A client that speaks plain HTTP to all of these.
fn client_of(servers: &[&FaultyServer]) -> Registry {
    let insecure = servers.iter().map(|server| server.address().to_owned()).collect();
    Registry::new(RegistryOptions { insecure, retries: quick(), ..RegistryOptions::default() }).unwrap()
}

/// Gives everything to read and takes nothing; counts the uploads that it refuses.
fn refusing(refused: &Arc<AtomicUsize>) -> FaultyServer {
    let refused = Arc::clone(refused);
    FaultyServer::start(move |request| {
        let is_upload = request.is("POST", "/uploads/");
        refused.fetch_add(is_upload.into(), Ordering::Relaxed);
        is_upload.then(|| Answer::status(403))
    })
}

#[test]
fn after_a_refusal_nothing_further_goes_ahead() {
    let (image, refused) = (Image::new(&[b"one", b"two", b"three"]), Arc::default());
    let server = refusing(&refused);
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !told.warnings().is_empty());
    send(&push, &image, &[1, 2]);
    // The push that ends it asks by itself.
    let error = finish(push, &image).unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
    assert!((2..=4).contains(&refused.load(Ordering::Relaxed)), "{refused:?}");
    assert_eq!((told.warnings().len(), server.stored("1")), (1, None));
}

#[test]
fn a_blob_that_went_away_meanwhile_is_sent_again() {
    let (server, image) = (FaultyServer::start(|_| None), Image::new(&[b"one", b"two"]));
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| told.amounts().1 > 0);
    server.forget(&layer(&image, 0));
    assert_eq!(deliveries(&finish(push, &image).unwrap()[0]), vec![Delivery::Sent; 3]);
    assert_eq!(server.stored(&layer(&image, 0)), Some(b"one".to_vec()));
    assert_eq!(told.amounts().0, told.amounts().1);
}

#[test]
fn a_build_that_fails_waits_for_nothing_and_leaves_no_bar() {
    let (server, image) = (
        FaultyServer::scripted(|request| request.is("POST", "/uploads/").then_some(Fault::Stall)),
        Image::new(&[b"one"]),
    );
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0]);
    wait_until(|| !server.seen("POST", "/uploads/").is_empty());
    drop(push);
    assert!(told.is_abandoned());
}

#[test]
fn who_may_push_nowhere_hears_it_before_anything_is_made() {
    let (one, other) = (refusing(&Arc::default()), refusing(&Arc::default()));
    let (push, _) = begin(&client_of(&[&one, &other]), &[one.image("a:1"), other.image("b:1")]);
    let error = push.check().unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
}

#[test]
fn a_registry_that_refuses_does_not_hold_the_others_up() {
    let (closed, open) = (refusing(&Arc::default()), FaultyServer::start(|_| None));
    let image = Image::new(&[b"one", b"two"]);
    let (push, told) = begin(&client_of(&[&closed, &open]), &[closed.image("a:1"), open.image("a:1")]);
    push.check().unwrap();
    assert_eq!(told.warnings().len(), 1, "{:?}", told.warnings());
    send(&push, &image, &[0]);
    wait_until(|| open.stored(&layer(&image, 0)).is_some());
    let error = finish(push, &image).unwrap_err();
    let RegistryError::PartialPush { done, failed, .. } = error else { panic!("{error}") };
    assert_eq!((done.len(), failed.len()), (1, 1));
    assert_eq!(deliveries(&done[0]), vec![Delivery::Sent; 3]);
    assert_eq!((closed.stored("1"), open.stored("1").is_some()), (None, true));
}

#[test]
fn who_may_push_leaves_no_upload_behind() {
    let server = FaultyServer::start(|_| None);
    let (push, _) = begin(&client(server.address()), &[server.image("a:1"), server.image("b:1")]);
    push.check().unwrap();
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn a_registry_that_is_busy_now_may_not_be_when_the_image_is_done() {
    let refused = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&refused);
    let server = FaultyServer::start(move |request| {
        let is_upload = request.is("POST", "/uploads/");
        (is_upload && asked.fetch_add(1, Ordering::Relaxed) == 0).then(|| Answer::status(503))
    });
    let (push, told) = begin(&client(server.address()), &[server.image("a:1")]);
    push.check().unwrap();
    assert_eq!((refused.load(Ordering::Relaxed), told.warnings()), (1, vec![]));
    finish(push, &Image::new(&[b"one"])).unwrap();
}
