//! `carafe index create`.

use serde_json::Value;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{TestDir, deliveries, run_tool, skopeo_digest};

struct Images {
    dir: TestDir,
    server: RegistryServer,
    amd: String,
    arm: String,
}

/// Pushes two images for different platforms.
fn images() -> Images {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    let sample = Sample::new(&dir.path("made"));
    for (tag, platform) in [("amd", "linux/amd64"), ("arm", "linux/arm64/v8")] {
        sample.name(&sample.image(platform, &[("shared", "the same"), ("own", platform)]), tag);
        dir.run(&["push", &format!("oci:made:{tag}"), &server.image(&format!("erp:{tag}"))]);
    }
    let (amd, arm) = (server.image("erp:amd"), server.image("erp:arm"));
    Images { dir, server, amd, arm }
}

#[test]
fn creates_an_index_from_pushed_images() {
    let Images { dir, server, amd, arm } = images();
    let made = dir.run(&["index", "create", &server.image("erp:15"), &arm, &amd]);
    assert_eq!(deliveries(&made, "skipped"), 5);
    let raw = run_tool(
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", server.image("erp:15"))],
        &dir.path(""),
    );
    let index: Value = serde_json::from_str(&raw).unwrap();
    let platforms: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]).collect();
    let wanted = [
        serde_json::json!({"architecture": "amd64", "os": "linux"}),
        serde_json::json!({"architecture": "arm64", "os": "linux", "variant": "v8"}),
    ];
    assert_eq!(platforms, wanted.iter().collect::<Vec<_>>());
    // The digest depends neither on the order nor on the location of the images.
    let other = dir.run(&["index", "create", &server.image("elsewhere/erp:1"), &amd, &arm]);
    assert_eq!((&other["digest"], deliveries(&other, "mounted")), (&made["digest"], 5));
    for target in ["oci:directory:15", "oci-archive:erp.tar:15"] {
        let local = dir.run(&["index", "create", target, &amd, "oci:made:arm"]);
        assert_eq!(local["digest"], made["digest"]);
    }
    assert_eq!(skopeo_digest("oci:directory:15", &dir.path("")), made["digest"]);
}

#[test]
fn copies_images_from_another_registry() {
    let Images { dir, server: _running, amd, arm } = images();
    let other = RegistryServer::start();
    let made = dir.run(&["index", "create", &other.image("erp:15"), &amd, &arm]);
    assert_eq!(deliveries(&made, "sent"), 5);
    let all = [
        "copy",
        "--all",
        "--src-tls-verify=false",
        &format!("docker://{}", other.image("erp:15")),
        "dir:all",
    ];
    run_tool("skopeo", &all, &dir.path(""));
}

#[test]
fn rejects_images_that_cannot_form_an_index() {
    let Images { dir, server, amd, arm } = images();
    dir.run(&["index", "create", &server.image("erp:15"), &amd, &arm]);
    let (_, stderr) = dir.fail(&["index", "create", &server.image("new:1"), &server.image("erp:15")]);
    assert!(stderr.contains("it is an index itself"), "{stderr}");
    let (_, stderr) = dir.fail(&["index", "create", &server.image("new:1"), &amd, "oci:made:amd"]);
    assert!(stderr.contains("erp:amd is for linux/amd64 too"), "{stderr}");

    let sample = Sample::new(&dir.path("made"));
    let artifact = sample.referrer(&sample.blob("x", b"y"), "application/spdx+json");
    sample.name(&artifact, "artifact");
    let (_, stderr) = dir.fail(&["index", "create", &server.image("new:1"), "oci:made:artifact"]);
    assert!(stderr.contains("failed to parse config"), "{stderr}");
    let (_, stderr) = dir.fail(&["copy", &server.image("new:1"), "oci:never"]);
    assert!(stderr.contains("not found in"), "{stderr}");
}
