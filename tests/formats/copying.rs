//! Copies between registries, layouts and archives keep the digest.

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{TestDir, deliveries, skopeo_digest};

#[test]
fn copying_keeps_the_digest_of_an_index() {
    let (dir, one, two) = (TestDir::new(), RegistryServer::start(), RegistryServer::start());
    let digest = Sample::new(&dir.path("first")).index("15").digest.to_string();
    let locations = [
        "oci:first:15".to_owned(),
        one.image("erp:15"),
        "oci-archive:erp.tar:15".to_owned(),
        two.image("other/erp:1"),
        "oci:second:x".to_owned(),
    ];
    for pair in locations.windows(2) {
        let result = dir.run(&["copy", &pair[0], &pair[1]]);
        assert_eq!(result["digest"], digest, "{pair:?}");
        assert_eq!(result["names"].as_array().unwrap().len(), 1);
    }
    for name in [
        &format!("docker://{}", locations[1]),
        &format!("docker://{}", locations[3]),
        "oci:second:x",
        "oci:first:15",
    ] {
        assert_eq!(skopeo_digest(name, &dir.path("")), digest, "{name}");
    }
    // skopeo reads and verifies every blob of all platforms.
    let all = ["copy", "--all", "--src-tls-verify=false", &format!("docker://{}", locations[3]), "dir:all"];
    crate::run_tool("skopeo", &all, &dir.path(""));
}

#[test]
fn existing_blobs_are_not_sent_again() {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    Sample::new(&dir.path("image")).index("15");
    let first = dir.run(&["copy", "oci:image:15", &server.image("a:1")]);
    assert_eq!((deliveries(&first, "sent"), deliveries(&first, "skipped")), (5, 0));
    let again = dir.run(&["copy", "oci:image:15", &server.image("a:2")]);
    assert_eq!((deliveries(&again, "sent"), deliveries(&again, "skipped")), (0, 5));
    let mounted = dir.run(&["copy", &server.image("a:1"), &server.image("b/c:1")]);
    assert_eq!(deliveries(&mounted, "mounted"), 5);
    assert_eq!(skopeo_digest(&format!("docker://{}", server.image("b/c:1")), &dir.path("")), first["digest"]);
}

#[test]
fn copies_one_platform_of_an_index() {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    let sample = Sample::new(&dir.path("image"));
    let index = sample.index("15");
    dir.run(&["copy", "oci:image:15", &server.image("a:15")]);
    let arm = dir.run(&["copy", &server.image("a:15"), "oci:arm:15", "--platform", "linux/arm64"]);
    let wanted = sample.image("linux/arm64/v8", &[("shared", "the same"), ("own", "linux/arm64/v8")]);
    assert_eq!(arm["digest"], wanted.digest.to_string());

    let (_, stderr) = dir.fail(&["copy", "oci:image:15", "oci:s390", "--platform", "linux/s390x"]);
    assert!(stderr.contains("failed to find linux/s390x") && stderr.contains("linux/arm64/v8"), "{stderr}");
    let (_, stderr) = dir.fail(&["copy", "oci:arm:15", "oci:amd", "--platform", "linux/amd64"]);
    assert!(stderr.contains("it is an image for linux/arm64/v8"), "{stderr}");
    assert_ne!(arm["digest"], index.digest.to_string());
}

#[test]
fn a_damaged_blob_reaches_no_destination() {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    let sample = Sample::new(&dir.path("image"));
    let image = sample.image("linux/amd64", &[("file", "content")]);
    sample.name(&image, "15");
    let blobs = dir.path("image/blobs/sha256");
    let largest = std::fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let gzipped = |path: &std::path::PathBuf| std::fs::read(path).unwrap().starts_with(&[0x1f, 0x8b]);
    let layer = largest.into_iter().find(gzipped).unwrap();
    let mut bytes = std::fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let targets = [
        server.image("a:1"),
        "oci:copy".to_owned(),
        "oci-archive:a.tar".to_owned(),
        "docker-archive:d.tar".to_owned(),
    ];
    for target in &targets {
        let (_, stderr) = dir.fail(&["copy", "oci:image:15", target]);
        assert!(stderr.contains("the copy is damaged"), "{target}: {stderr}");
    }
    for name in ["a.tar", "d.tar"] {
        assert!(!dir.path(name).exists(), "{name}");
    }
    let leftovers = std::fs::read_dir(dir.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftovers.into_iter().all(|name| !name.to_string_lossy().starts_with(".carafe")));
    let (_, stderr) = dir.fail(&["copy", &server.image("a:1"), "oci:never"]);
    assert!(stderr.contains("MANIFEST_UNKNOWN"), "{stderr}");
}
