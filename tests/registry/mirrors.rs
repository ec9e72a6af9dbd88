//! Mirrors in their order, other locations, and what is blocked, as a `registries.conf` says.

use std::io::Read;

use carafe::registry::{Mirrors, Registry, RegistryError, RegistryOptions};
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, resolve};

use crate::faulty::{Answer, Fault, FaultyServer};
use crate::images::Image;
use crate::push::push;
use crate::server::RegistryServer;
use crate::{client, name, quick};

/// The host that all images here are named after. Nobody asks it.
const NAMED: &str = "images.example.com";

/// A client whose `registries.conf` has `text`.
fn with(text: &str) -> Registry {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registries.conf");
    std::fs::write(&path, text).unwrap();
    let mirrors = Mirrors::read([path]).unwrap();
    Registry::new(RegistryOptions { mirrors, retries: quick(), ..RegistryOptions::default() }).unwrap()
}

/// [`NAMED`] is at `origin`, over plain HTTP, and so are its mirrors.
fn conf(origin: &str, mirrors: &[&str]) -> String {
    let mirror =
        |location: &&str| format!("[[registry.mirror]]\nlocation = \"{location}\"\ninsecure = true\n");
    let mirrors: String = mirrors.iter().map(mirror).collect();
    format!("[[registry]]\nprefix = \"{NAMED}\"\nlocation = \"{origin}\"\ninsecure = true\n{mirrors}")
}

/// Everything of the image `a:1`, as it is read by its name.
fn read_all(registry: &Registry) -> Vec<Vec<u8>> {
    let source = registry.source(&name(&format!("{NAMED}/a:1")));
    let image = resolve(&source, &Platform::host()).unwrap();
    let read = |layer| {
        let mut bytes = Vec::new();
        source.blob(layer).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    image.manifest.layers.iter().map(read).collect()
}

/// How many requests have come.
fn requests(server: &FaultyServer) -> usize {
    ["HEAD", "GET", "POST", "PATCH", "PUT"].iter().map(|method| server.seen(method, "").len()).sum()
}

/// The stand-in with an image in a repository.
fn filled(server: FaultyServer, repository: &str, image: &Image) -> FaultyServer {
    push(&client(server.address()), image, &[&server.image(&format!("{repository}:1"))]).unwrap();
    server
}

#[test]
fn a_mirror_that_is_down_and_one_that_lacks_the_image_are_passed_over() {
    let (origin, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let empty = FaultyServer::start(|_| None);
    let registry = with(&conf(origin.address(), &[&down, &format!("{}/hub", empty.address())]));
    // Pushes go to the origin, whatever the mirrors.
    push(&registry, &image, &[&format!("{NAMED}/a:1")]).unwrap();
    client(origin.address()).resolve(&name(&origin.image("a:1"))).unwrap();
    assert!(requests(&empty) == 0);

    assert_eq!(read_all(&registry), [b"one".to_vec(), b"two".to_vec()]);
    // Once it has failed it is left alone.
    assert_eq!(empty.seen("GET", "/v2/hub/a/manifests/1").len(), 1);
    assert!(empty.seen("GET", "/blobs/").is_empty());
    let digest = image.resolved().descriptor.digest;
    assert_eq!(registry.resolve(&name(&format!("{NAMED}/a:1"))).unwrap().digest, digest);
}

#[test]
fn a_mirror_that_has_the_image_is_all_that_is_asked() {
    let (image, origin) = (Image::new(&[b"one"]), FaultyServer::start(|_| None));
    let mirror = filled(FaultyServer::start(|_| None), "hub/a", &image);
    let registry = with(&conf(origin.address(), &[&format!("{}/hub", mirror.address())]));
    assert_eq!(read_all(&registry), [b"one".to_vec()]);
    assert!(requests(&origin) == 0);
}

/// It is asked three times, and the origin for what is missing.
#[test]
fn a_blob_that_a_mirror_does_not_end_goes_on_elsewhere() {
    let layer = vec![7; 100_000];
    let image = Image::new(&[&layer]);
    let digest = image.resolved().manifest.layers[0].digest.to_string();
    let half = layer[..50_000].to_vec();
    let part = format!("/blobs/{digest}");
    let mirror = FaultyServer::scripted(move |request| match request.is("GET", &part) {
        true if request.headers.contains_key("range") => Some(Fault::LoseAnswer),
        true => Some(Fault::Say(Answer::status(200).with("Content-Length", "100000").body(half.clone()))),
        false => None,
    });
    let mirror = filled(mirror, "a", &image);
    let origin = filled(FaultyServer::start(|_| None), "a", &image);
    assert_eq!(read_all(&with(&conf(origin.address(), &[mirror.address()]))), [layer]);
    let asked = origin.seen("GET", "/blobs/");
    let ranges: Vec<_> = asked.iter().filter_map(|request| request.headers.get("range")).collect();
    assert_eq!(ranges, ["bytes=50000-"]);
}

/// What a mirror says is held to the digest, and the origin asked when it lies.
#[test]
fn a_mirror_that_lies_is_passed_over() {
    let (image, other) = (Image::new(&[b"one"]), Image::new(&[b"another"]));
    let mirror = filled(FaultyServer::start(|_| None), "a", &other);
    let origin = filled(FaultyServer::start(|_| None), "a", &image);
    let registry = with(&conf(origin.address(), &[mirror.address()]));
    let digest = image.resolved().descriptor.digest;
    let source = registry.source(&name(&format!("{NAMED}/a@{digest}")));
    assert_eq!(resolve(&source, &Platform::host()).unwrap().descriptor.digest, digest);
    assert_eq!(mirror.seen("GET", &digest.to_string()).len(), 1);
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_tags() {
    let image = Image::new(&[b"one"]);
    let mirror = filled(FaultyServer::start(|_| None), "a", &image);
    let origin = filled(FaultyServer::start(|_| None), "a", &image);
    let text = conf(origin.address(), &[mirror.address()]) + "pull-from-mirror = \"digest-only\"\n";
    let before = requests(&mirror);
    let registry = with(&text);
    let digest = registry.resolve(&name(&format!("{NAMED}/a:1"))).unwrap().digest;
    assert_eq!(requests(&mirror), before);
    registry.resolve(&name(&format!("{NAMED}/a@{digest}"))).unwrap();
    assert!(requests(&mirror) > before);
}

#[test]
fn what_is_blocked_is_neither_read_nor_written() {
    let server = FaultyServer::start(|_| None);
    let blocked = format!("[[registry]]\nprefix = \"{}/a\"\nblocked = true\n", server.address());
    let registry = with(&blocked);
    let target = server.image("a:1");
    let error = push(&registry, &Image::new(&[b"one"]), &[&target]).unwrap_err();
    assert!(matches!(error, RegistryError::Blocked { .. }), "{error}");
    let error = registry.resolve(&name(&target)).unwrap_err();
    assert!(matches!(error, RegistryError::Blocked { .. }), "{error}");
    assert!(registry.source(&name(&target)).root().is_err());
    assert!(requests(&server) == 0);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.conf");
    std::fs::write(&path, "[[registry]]\nlocation = \"a.io\"\nblocked = 1\n").unwrap();
    let error = Mirrors::read([path]).unwrap_err().to_string();
    assert!(error.contains("own.conf`, line 3"), "{error}");
}
