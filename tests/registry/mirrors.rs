//! Mirrors, other locations and blocked repositories of a `registries.conf`.

use std::io::Read;

use carafe::registry::{Mirrors, Registry, RegistryError, RegistryOptions};
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, resolve};

use crate::faulty::{FakeRegistry, Fault, Response};
use crate::images::Image;
use crate::push::push;
use crate::server::RegistryServer;
use crate::{client, name, quick};

/// The host in the names of all images. It receives no request.
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

/// The layers of the image `a:1`.
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

/// The number of requests.
fn requests(server: &FakeRegistry) -> usize {
    ["HEAD", "GET", "POST", "PATCH", "PUT"].iter().map(|method| server.seen(method, "").len()).sum()
}

/// The fake registry with an image in a repository.
fn filled(server: FakeRegistry, repository: &str, image: &Image) -> FakeRegistry {
    push(&client(server.address()), image, &[&server.image(&format!("{repository}:1"))]).unwrap();
    server
}

#[test]
fn skips_mirrors_that_are_down_or_lack_the_image() {
    let (origin, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let empty = FakeRegistry::start(|_| None);
    let registry = with(&conf(origin.address(), &[&down, &format!("{}/hub", empty.address())]));
    // Pushes do not use mirrors.
    push(&registry, &image, &[&format!("{NAMED}/a:1")]).unwrap();
    client(origin.address()).resolve(&name(&origin.image("a:1"))).unwrap();
    assert!(requests(&empty) == 0);

    assert_eq!(read_all(&registry), [b"one".to_vec(), b"two".to_vec()]);
    // After a failure it is not used again.
    assert_eq!(empty.seen("GET", "/v2/hub/a/manifests/1").len(), 1);
    assert!(empty.seen("GET", "/blobs/").is_empty());
    let digest = image.resolved().descriptor.digest;
    assert_eq!(registry.resolve(&name(&format!("{NAMED}/a:1"))).unwrap().digest, digest);
}

#[test]
fn does_not_use_the_origin_if_a_mirror_has_the_image() {
    let (image, origin) = (Image::new(&[b"one"]), FakeRegistry::start(|_| None));
    let mirror = filled(FakeRegistry::start(|_| None), "hub/a", &image);
    let registry = with(&conf(origin.address(), &[&format!("{}/hub", mirror.address())]));
    assert_eq!(read_all(&registry), [b"one".to_vec()]);
    assert!(requests(&origin) == 0);
}

/// The mirror gets three requests, and the origin one for the missing bytes.
#[test]
fn continues_a_broken_blob_at_the_next_endpoint() {
    let layer = vec![7; 100_000];
    let image = Image::new(&[&layer]);
    let digest = image.resolved().manifest.layers[0].digest.to_string();
    let half = layer[..50_000].to_vec();
    let part = format!("/blobs/{digest}");
    let mirror = FakeRegistry::scripted(move |request| match request.is("GET", &part) {
        true if request.headers.contains_key("range") => Some(Fault::LoseResponse),
        true => {
            Some(Fault::Respond(Response::status(200).with("Content-Length", "100000").body(half.clone())))
        }
        false => None,
    });
    let mirror = filled(mirror, "a", &image);
    let origin = filled(FakeRegistry::start(|_| None), "a", &image);
    assert_eq!(read_all(&with(&conf(origin.address(), &[mirror.address()]))), [layer]);
    let requests = origin.seen("GET", "/blobs/");
    let ranges: Vec<_> = requests.iter().filter_map(|request| request.headers.get("range")).collect();
    assert_eq!(ranges, ["bytes=50000-"]);
}

/// A mirror's manifest is verified against the digest; the origin is used if it is wrong.
#[test]
fn skips_a_mirror_with_a_wrong_digest() {
    let (image, other) = (Image::new(&[b"one"]), Image::new(&[b"another"]));
    let mirror = filled(FakeRegistry::start(|_| None), "a", &other);
    let origin = filled(FakeRegistry::start(|_| None), "a", &image);
    let registry = with(&conf(origin.address(), &[mirror.address()]));
    let digest = image.resolved().descriptor.digest;
    let source = registry.source(&name(&format!("{NAMED}/a@{digest}")));
    assert_eq!(resolve(&source, &Platform::host()).unwrap().descriptor.digest, digest);
    assert_eq!(mirror.seen("GET", &digest.to_string()).len(), 1);
}

#[test]
fn does_not_use_a_digest_only_mirror_for_tags() {
    let image = Image::new(&[b"one"]);
    let mirror = filled(FakeRegistry::start(|_| None), "a", &image);
    let origin = filled(FakeRegistry::start(|_| None), "a", &image);
    let text = conf(origin.address(), &[mirror.address()]) + "pull-from-mirror = \"digest-only\"\n";
    let before = requests(&mirror);
    let registry = with(&text);
    let digest = registry.resolve(&name(&format!("{NAMED}/a:1"))).unwrap().digest;
    assert_eq!(requests(&mirror), before);
    registry.resolve(&name(&format!("{NAMED}/a@{digest}"))).unwrap();
    assert!(requests(&mirror) > before);
}

#[test]
fn blocked_repositories_are_neither_read_nor_written() {
    let server = FakeRegistry::start(|_| None);
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
fn an_invalid_file_is_reported_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.conf");
    std::fs::write(&path, "[[registry]]\nlocation = \"a.io\"\nblocked = 1\n").unwrap();
    let error = Mirrors::read([path]).unwrap_err().to_string();
    assert!(error.contains("own.conf`, line 3"), "{error}");
}
