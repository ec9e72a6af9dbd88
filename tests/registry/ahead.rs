//! Blobs that go ahead of their image, and the push that ends what they began.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use carafe::registry::{BegunPush, Delivery, KnownBlobs, PushReport, Registry, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::graph::Graph;
use carafe_layers::oci::{Descriptor, Platform};
use carafe_layers::source::{ImageSource, SourceError, resolve};

use crate::faulty::{Answer, FaultyServer};
use crate::images::Image;
use crate::patience::Warnings;
use crate::server::RegistryServer;
use crate::{client, name};

fn begin(registry: &Registry, targets: &[String]) -> BegunPush {
    let targets: Vec<_> = targets.iter().map(|target| name(target)).collect();
    registry.begin_push(&targets, &Progress::silent()).unwrap()
}

/// The layers of `image` that are ready; its documents are not known yet.
fn send(push: &BegunPush, image: &Image, layers: &[usize]) {
    for layer in layers.iter().map(|&index| image.resolved().manifest.layers[index].clone()) {
        let (image, blob) = (image.clone(), layer.clone());
        push.send(&layer, &KnownBlobs::default(), move || image.blob(&blob));
    }
}

fn finish(push: BegunPush, image: &Image) -> Vec<PushReport> {
    let graph = Graph::of(&image.resolved());
    push.finish(&graph, image, &KnownBlobs::default()).unwrap()
}

fn deliveries(report: &PushReport) -> Vec<Delivery> {
    report.blobs.iter().map(|blob| blob.delivery.clone()).collect()
}

/// Until the registry has it.
fn wait_for(server: &FaultyServer, layer: &Descriptor) {
    let since = Instant::now();
    while server.stored(&layer.digest.to_string()).is_none() {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn blobs_arrive_before_their_image_is_known_and_no_name_points_at_them() {
    let (server, image) = (FaultyServer::start(|_| None), Image::new(&[b"base", b"ours", b"last"]));
    let push = begin(&client(server.address()), &[server.image("a:1")]);
    send(&push, &image, &[0, 1]);
    for layer in &image.resolved().manifest.layers[..2] {
        wait_for(&server, layer);
    }
    assert_eq!(server.stored("1"), None);
    let reports = finish(push, &image);
    // Sent, and not "skipped", though the push that ended it found two of them there.
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 4]);
    assert_eq!(server.stored("1"), Some(image.resolved().manifest_bytes));
    let sizes: u64 = reports[0].blobs.iter().map(|blob| blob.descriptor.size).sum();
    assert_eq!(server.received(), sizes);
}

#[test]
fn a_blob_is_sent_ahead_to_every_repository_and_mounted_in_the_second() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let registry = client(server.address());
    let push = begin(&registry, &["a:1", "b:1", "a:2"].map(|text| server.image(text)));
    send(&push, &image, &[0, 1, 0]);
    let reports = finish(push, &image);
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 3]);
    assert!(
        deliveries(&reports[1]).iter().all(|what| matches!(what, Delivery::Mounted { .. })),
        "{reports:?}"
    );
    for target in ["a:1", "a:2", "b:1"] {
        resolve(&registry.source(&name(&server.image(target))), &Platform::host()).unwrap();
    }
}

#[test]
fn what_was_there_already_is_skipped_and_what_was_not_sent_ahead_is_sent() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let registry = client(server.address());
    finish(begin(&registry, &[server.image("a:1")]), &Image::new(&[b"one"]));
    let push = begin(&registry, &[server.image("a:2")]);
    send(&push, &image, &[0]);
    assert_eq!(deliveries(&finish(push, &image)[0]), [Delivery::Skipped, Delivery::Sent, Delivery::Sent]);
}

#[test]
fn what_cannot_go_ahead_is_a_warning_and_goes_with_the_image() {
    let image = Image::new(&[b"one", b"two"]);
    let server = FaultyServer::start(|_| None);
    let warnings = Arc::<Warnings>::default();
    let registry = client(server.address());
    let targets = [name(&server.image("a:1"))];
    let push = registry.begin_push(&targets, &Progress::new(Arc::clone(&warnings) as _)).unwrap();
    let layers = image.resolved().manifest.layers;
    // Its bytes went away.
    push.send(&layers[0], &KnownBlobs::default(), || {
        let source = std::io::ErrorKind::NotFound.into();
        Err(SourceError::Io { path: "layer".to_owned(), source })
    });
    assert_eq!(deliveries(&finish(push, &image)[0]), vec![Delivery::Sent; 3]);
    let warned = warnings.all();
    assert!(warned.len() == 1 && warned[0].contains("when the image is done"), "{warned:?}");
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
    let image = Image::new(&[b"one", b"two", b"three"]);
    let refused = Arc::default();
    let server = refusing(&refused);
    let warnings = Arc::<Warnings>::default();
    let (targets, progress) = ([name(&server.image("a:1"))], Progress::new(Arc::clone(&warnings) as _));
    let push = client(server.address()).begin_push(&targets, &progress).unwrap();
    send(&push, &image, &[0]);
    let since = Instant::now();
    while warnings.all().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(60), "nobody is told");
        thread::sleep(Duration::from_millis(5));
    }
    send(&push, &image, &[1, 2]);
    // The push that ends it asks by itself.
    let error = push.finish(&Graph::of(&image.resolved()), &image, &KnownBlobs::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
    assert!((2..=4).contains(&refused.load(Ordering::Relaxed)), "{refused:?}");
    assert_eq!(warnings.all().len(), 1, "{:?}", warnings.all());
    assert_eq!(server.stored("1"), None);
}

#[test]
fn a_blob_that_went_away_meanwhile_is_sent_again() {
    let image = Image::new(&[b"one", b"two"]);
    let server = FaultyServer::start(|_| None);
    let push = begin(&client(server.address()), &[server.image("a:1")]);
    let layer = image.resolved().manifest.layers[0].clone();
    send(&push, &image, &[0]);
    wait_for(&server, &layer);
    server.forget(&layer.digest.to_string());
    assert_eq!(deliveries(&finish(push, &image)[0]), vec![Delivery::Sent; 3]);
    assert_eq!(server.stored(&layer.digest.to_string()), Some(b"one".to_vec()));
}

#[test]
fn who_may_not_push_hears_it_before_anything_is_made() {
    let server = refusing(&Arc::default());
    let push = begin(&client(server.address()), &[server.image("a:1"), server.image("b:1")]);
    let error = push.check().unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
}

#[test]
fn who_may_push_leaves_no_upload_behind() {
    let uploads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&uploads);
    let server = FaultyServer::start(move |request| {
        let mut seen = seen.lock().unwrap();
        let is_first = !seen.iter().any(|one: &String| one.starts_with("POST"));
        seen.push(format!("{} {}", request.method, request.target));
        // It is busy at first.
        (is_first && request.method == "POST").then(|| Answer::status(503))
    });
    begin(&client(server.address()), &[server.image("a:1"), server.image("b:1")]).check().unwrap();
    let (open, cancel) = ("POST /v2/a/blobs/uploads/", "DELETE /v2/a/blobs/uploads/session-1");
    let of_a: Vec<_> = uploads.lock().unwrap().iter().filter(|one| one.contains("/a/")).cloned().collect();
    assert_eq!(of_a, [open, open, cancel]);
}
