//! `carafe index create`.

use serde_json::Value;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{Place, deliveries, judge, skopeo_digest};

struct Images {
    place: Place,
    server: RegistryServer,
    amd: String,
    arm: String,
}

/// Two images, pushed by themselves.
fn images() -> Images {
    let (place, server) = (Place::new(), RegistryServer::start());
    let sample = Sample::new(&place.path("made"));
    for (tag, platform) in [("amd", "linux/amd64"), ("arm", "linux/arm64/v8")] {
        sample.name(&sample.image(platform, &[("shared", "the same"), ("own", platform)]), tag);
        place.run(&["push", &format!("oci:made:{tag}"), &server.image(&format!("erp:{tag}"))]);
    }
    let (amd, arm) = (server.image("erp:amd"), server.image("erp:arm"));
    Images { place, server, amd, arm }
}

#[test]
fn an_index_is_made_of_images_pushed_before() {
    let Images { place, server, amd, arm } = images();
    let made = place.run(&["index", "create", &server.image("erp:15"), &arm, &amd]);
    assert_eq!(deliveries(&made, "skipped"), 5);
    let raw = judge(
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", server.image("erp:15"))],
        &place.path(""),
    );
    let index: Value = serde_json::from_str(&raw).unwrap();
    let platforms: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]).collect();
    let wanted = [
        serde_json::json!({"architecture": "amd64", "os": "linux"}),
        serde_json::json!({"architecture": "arm64", "os": "linux", "variant": "v8"}),
    ];
    assert_eq!(platforms, wanted.iter().collect::<Vec<_>>());
    // Neither order nor place matters.
    let other = place.run(&["index", "create", &server.image("elsewhere/erp:1"), &amd, &arm]);
    assert_eq!((&other["digest"], deliveries(&other, "mounted")), (&made["digest"], 5));
    for target in ["oci:directory:15", "oci-archive:erp.tar:15"] {
        let local = place.run(&["index", "create", target, &amd, "oci:made:arm"]);
        assert_eq!(local["digest"], made["digest"]);
    }
    assert_eq!(skopeo_digest("oci:directory:15", &place.path("")), made["digest"]);
}

#[test]
fn images_of_another_registry_are_copied() {
    let Images { place, server: _running, amd, arm } = images();
    let other = RegistryServer::start();
    let made = place.run(&["index", "create", &other.image("erp:15"), &amd, &arm]);
    assert_eq!(deliveries(&made, "sent"), 5);
    let all = [
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("docker://{}", other.image("erp:15")),
        "dir:all",
    ];
    judge("skopeo", &all, &place.path(""));
}

#[test]
fn what_makes_no_index_is_refused() {
    let Images { place, server, amd, arm } = images();
    place.run(&["index", "create", &server.image("erp:15"), &amd, &arm]);
    let (_, said) = place.fail(&["index", "create", &server.image("new:1"), &server.image("erp:15")]);
    assert!(said.contains("it is an index itself"), "{said}");
    let (_, said) = place.fail(&["index", "create", &server.image("new:1"), &amd, "oci:made:amd"]);
    assert!(said.contains("erp:amd is for linux/amd64 too"), "{said}");

    let sample = Sample::new(&place.path("made"));
    let artifact = sample.referrer(&sample.blob("x", b"y"), "application/spdx+json");
    sample.name(&artifact, "artifact");
    let (_, said) = place.fail(&["index", "create", &server.image("new:1"), "oci:made:artifact"]);
    assert!(said.contains("failed to parse config"), "{said}");
    let (_, said) = place.fail(&["copy", &server.image("new:1"), "oci:never"]);
    assert!(said.contains("has no such thing"), "{said}");
}
