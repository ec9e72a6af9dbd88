//! One image, several registries.

use std::net::TcpListener;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{Place, skopeo_digest};

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn place() -> (Place, String) {
    let place = Place::new();
    let sample = Sample::new(&place.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world")]);
    sample.name(&image, "15");
    (place, image.digest.to_string())
}

#[test]
fn all_of_them_get_it() {
    let (place, digest) = place();
    let (one, two) = (RegistryServer::start(), RegistryServer::start());
    let targets = [one.image("a:1"), two.image("b:1"), one.image("c:1"), "oci:directory:1".to_owned()];
    let result = place.run(&["push", "oci:image:15", &targets[0], &targets[1], &targets[2], &targets[3]]);
    let names =
        ["oci:directory:1", &targets[0], &targets[1], &targets[2]].map(|name| format!("{name}@{digest}"));
    assert_eq!(result["names"], serde_json::json!(names));
    for target in &targets[..3] {
        assert_eq!(skopeo_digest(&format!("docker://{target}"), &place.path("")), digest);
    }
}

#[test]
fn one_that_fails_does_not_hold_the_others_up() {
    let (place, digest) = place();
    let (server, dead) = (RegistryServer::start(), nobody());
    let (there, lost) = (server.image("a:1"), format!("{dead}/a:1"));
    let (stdout, said) = place.fail(&["push", "oci:image:15", &lost, &there]);
    assert_eq!(stdout.trim(), format!("{there}@{digest}"));
    assert!(said.contains("failed to push to 1 of 2 registries"), "{said}");
    let blamed = |host: &str| said.contains(&format!("no connection to `{host}`"));
    assert!(blamed(&dead) && !blamed(server.address()), "{said}");
    assert_eq!(skopeo_digest(&format!("docker://{there}"), &place.path("")), digest);
}
