//! Delivers one image to several registries.

use std::net::TcpListener;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{TestDir, skopeo_digest};

/// An address with a closed port.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn dir() -> (TestDir, String) {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world")]);
    sample.name(&image, "15");
    (dir, image.digest.to_string())
}

#[test]
fn delivers_to_all_registries() {
    let (dir, digest) = dir();
    let (one, two) = (RegistryServer::start(), RegistryServer::start());
    let targets = [one.image("a:1"), two.image("b:1"), one.image("c:1"), "oci:directory:1".to_owned()];
    let result = dir.run(&["push", "oci:image:15", &targets[0], &targets[1], &targets[2], &targets[3]]);
    let names =
        ["oci:directory:1", &targets[0], &targets[1], &targets[2]].map(|name| format!("{name}@{digest}"));
    assert_eq!(result["names"], serde_json::json!(names));
    for target in &targets[..3] {
        assert_eq!(skopeo_digest(&format!("docker://{target}"), &dir.path("")), digest);
    }
}

#[test]
fn a_failing_registry_does_not_block_the_others() {
    let (dir, digest) = dir();
    let (server, dead) = (RegistryServer::start(), closed_port());
    let (there, lost) = (server.image("a:1"), format!("{dead}/a:1"));
    let (stdout, stderr) = dir.fail(&["push", "oci:image:15", &lost, &there]);
    assert_eq!(stdout.trim(), format!("{there}@{digest}"));
    assert!(stderr.contains("failed to push to 1 of 2 registries"), "{stderr}");
    let blamed = |host: &str| stderr.contains(&format!("no connection to `{host}`"));
    assert!(blamed(&dead) && !blamed(server.address()), "{stderr}");
    assert_eq!(skopeo_digest(&format!("docker://{there}"), &dir.path("")), digest);
}
