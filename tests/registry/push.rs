//! Push and pull with the real registry.

use std::io::Read;
use std::process::Command;

use carafe::registry::{Delivery, MountCandidates, PushReport, Registry, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::oci::{Descriptor, Index, Platform, media_type};
use carafe_layers::source::{ImageSource, read_document, resolve};

use crate::images::Image;
use crate::server::RegistryServer;
use crate::{client, name, shown};

/// Pushes without mount candidates.
pub fn push(registry: &Registry, image: &Image, targets: &[&str]) -> Result<Vec<PushReport>, RegistryError> {
    push_with_candidates(registry, image, targets, &MountCandidates::default())
}

fn push_with_candidates(
    registry: &Registry,
    image: &Image,
    targets: &[&str],
    candidates: &MountCandidates,
) -> Result<Vec<PushReport>, RegistryError> {
    let targets: Vec<_> = targets.iter().map(|target| name(target)).collect();
    registry.push(&image.resolved(), image, &targets, candidates, &Progress::silent())
}

fn deliveries(report: &PushReport) -> Vec<Delivery> {
    report.blobs.iter().map(|blob| blob.delivery.clone()).collect()
}

fn skopeo_inspect(image: &str) -> serde_json::Value {
    let output = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", &format!("docker://{image}")])
        .output()
        .expect("skopeo runs (the Debian package `skopeo` has it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A blob of `pieces` pieces of 256 KiB and a few bytes.
fn large(seed: u8, pieces: usize) -> Vec<u8> {
    (0..pieces * (256 << 10) + 17).map(|n| (n as u8).wrapping_mul(seed) ^ (n >> 8) as u8).collect()
}

#[test]
fn a_pulled_image_equals_the_pushed_one_and_skopeo_agrees() {
    let (server, image) = (RegistryServer::start(), Image::new(&[&large(3, 5), b"second", b""]));
    let (registry, target) = (client(server.address()), server.image("a/b:1"));
    let reports = push(&registry, &image, &[&target]).unwrap();
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 4]);
    assert_eq!((reports[0].tags.clone(), reports.len()), (vec!["1".to_owned()], 1));

    let source = registry.source(&name(&target));
    let (pulled, pushed) = (resolve(&source, &Platform::host()).unwrap(), image.resolved());
    assert_eq!(pulled.descriptor, pushed.descriptor);
    assert_eq!(registry.resolve(&name(&target)).unwrap(), pushed.descriptor);
    for layer in &pushed.manifest.layers {
        let (mut got, mut expected) = (Vec::new(), Vec::new());
        source.blob(layer).unwrap().read_to_end(&mut got).unwrap();
        image.blob(layer).unwrap().read_to_end(&mut expected).unwrap();
        assert_eq!(got, expected);
    }
    let inspected = skopeo_inspect(&target);
    assert_eq!(inspected["Digest"], pushed.descriptor.digest.to_string());
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 3);
}

#[test]
fn a_second_push_sends_nothing() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    push(&client(server.address()), &image, &[&server.image("a:1")]).unwrap();
    let reports = push(&client(server.address()), &image, &[&server.image("a:1")]).unwrap();
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Skipped; 3]);
}

#[test]
fn sends_a_layer_once_that_is_twice_in_an_image() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two", b"one"]));
    let reports = push(&client(server.address()), &image, &[&server.image("a:1")]).unwrap();
    assert_eq!(reports[0].blobs.len(), 3);
    resolve(&client(server.address()).source(&name(&server.image("a:1"))), &Platform::host()).unwrap();
}

#[test]
fn mounts_the_base_layers_and_sends_the_new_ones() {
    let (server, base) = (RegistryServer::start(), Image::new(&[b"base"]));
    let registry = client(server.address());
    push(&registry, &base, &[&server.image("base/debian:12")]).unwrap();
    let mut candidates = MountCandidates::default();
    let from = name(&server.image("base/debian")).repository().clone();
    candidates.add(&from, base.resolved().manifest.layers.iter().map(|layer| layer.digest));

    let derived = Image::new(&[b"base", b"ours"]);
    let reports = push_with_candidates(&registry, &derived, &[&server.image("erp:15")], &candidates).unwrap();
    assert_eq!(deliveries(&reports[0]), [Delivery::Mounted { from }, Delivery::Sent, Delivery::Sent]);
    resolve(&registry.source(&name(&server.image("erp:15"))), &Platform::host()).unwrap();
}

#[test]
fn sends_a_layer_that_the_mount_candidate_does_not_have() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"ours"]));
    let mut candidates = MountCandidates::default();
    let layer = image.resolved().manifest.layers[0].digest;
    candidates.add(name(&server.image("nowhere")).repository(), [layer]);
    let reports =
        push_with_candidates(&client(server.address()), &image, &[&server.image("erp:15")], &candidates)
            .unwrap();
    assert_eq!(deliveries(&reports[0]), [Delivery::Sent, Delivery::Sent]);
}

#[test]
fn sends_each_blob_once_for_several_targets() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one", b"two"]));
    let names = ["a:1", "a:1.0", "b:1", "a:1"].map(|text| server.image(text));
    let registry = client(server.address());
    let reports = push(&registry, &image, &names.each_ref().map(String::as_str)).unwrap();
    assert_eq!(reports.iter().map(|report| report.tags.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(deliveries(&reports[0]), vec![Delivery::Sent; 3]);
    assert!(deliveries(&reports[1]).iter().all(|what| matches!(what, Delivery::Mounted { .. })));
    for target in &names {
        assert_eq!(registry.resolve(&name(target)).unwrap().digest, image.resolved().descriptor.digest);
    }
}

#[test]
fn pushes_an_image_by_its_digest() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one"]));
    let own = server.image(&format!("a@{}", image.resolved().descriptor.digest));
    assert!(push(&client(server.address()), &image, &[&own]).unwrap()[0].tags.is_empty());
    client(server.address()).resolve(&name(&own)).unwrap();
}

#[test]
fn pulls_dockers_media_types_and_indexes() {
    let (server, image) = (RegistryServer::start(), Image::docker(&[b"one"]));
    let (registry, resolved) = (client(server.address()), image.resolved());
    push(&registry, &image, &[&server.image("a:1")]).unwrap();
    let mut entry = resolved.descriptor.clone();
    entry.platform = Some(Platform::host());
    for (kind, tag) in [(media_type::DOCKER_INDEX, "docker"), (media_type::INDEX, "oci")] {
        let index = Index {
            schema_version: 2,
            media_type: Some(kind.to_owned()),
            manifests: vec![entry.clone()],
            annotations: Default::default(),
            extra: Default::default(),
        };
        let bytes = serde_json::to_vec(&index).unwrap();
        put(server.address(), &format!("/v2/a/manifests/{tag}"), kind, &bytes);
        let source = registry.source(&name(&server.image(&format!("a:{tag}"))));
        let pulled = resolve(&source, &Platform::host()).unwrap();
        assert_eq!((pulled.root, pulled.descriptor.digest), (Descriptor::of(kind, &bytes), entry.digest));
    }
}

/// A PUT without the client.
fn put(address: &str, path: &str, kind: &str, body: &[u8]) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
}

#[test]
fn reports_missing_manifests_and_blobs() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one"]));
    let registry = client(server.address());
    push(&registry, &image, &[&server.image("a:1")]).unwrap();
    let error = registry.resolve(&name(&server.image("a:2"))).unwrap_err();
    assert!(matches!(&error, RegistryError::NotFound { action, .. } if action.contains("a:2")), "{error}");
    let source = registry.source(&name(&server.image("a:2")));
    let text = shown(resolve(&source, &Platform::host()).unwrap_err());
    assert!(text.contains("MANIFEST_UNKNOWN") && text.contains("`2`"), "{text}");
    let source = registry.source(&name(&server.image("a:1")));
    let missing = Descriptor::of(media_type::CONFIG, b"never pushed");
    let text = shown(read_document(&source, "config", &missing).unwrap_err());
    assert!(text.contains("not found in"), "{text}");
}

#[test]
fn a_damaged_layer_is_not_pushed() {
    let (server, image) = (RegistryServer::start(), Image::new(&[b"one"]));
    let error = client(server.address())
        .push(
            &image.resolved(),
            &image.clone().damaged(),
            &[name(&server.image("a:1"))],
            &MountCandidates::default(),
            &Progress::silent(),
        )
        .unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    let error = client(server.address()).resolve(&name(&server.image("a:1"))).unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}
