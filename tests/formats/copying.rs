//! From everywhere to everywhere, the digest kept.

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{Place, deliveries, skopeo_digest};

#[test]
fn an_index_goes_around_and_stays_the_same() {
    let (place, one, two) = (Place::new(), RegistryServer::start(), RegistryServer::start());
    let digest = Sample::new(&place.path("first")).index("15").digest.to_string();
    let stations = [
        "oci:first:15".to_owned(),
        one.image("erp:15"),
        "oci-archive:erp.tar:15".to_owned(),
        two.image("other/erp:1"),
        "oci:second:x".to_owned(),
    ];
    for leg in stations.windows(2) {
        let result = place.run(&["copy", &leg[0], &leg[1]]);
        assert_eq!(result["digest"], digest, "{leg:?}");
        assert_eq!(result["names"].as_array().unwrap().len(), 1);
    }
    for name in [
        &format!("docker://{}", stations[1]),
        &format!("docker://{}", stations[3]),
        "oci:second:x",
        "oci:first:15",
    ] {
        assert_eq!(skopeo_digest(name, &place.path("")), digest, "{name}");
    }
    // skopeo reads every blob of all platforms, and verifies them.
    let all = ["copy", "--all", "--src-tls-verify=false", &format!("docker://{}", stations[3]), "dir:all"];
    crate::judge("skopeo", &all, &place.path(""));
}

#[test]
fn what_is_there_is_not_sent_again() {
    let (place, server) = (Place::new(), RegistryServer::start());
    Sample::new(&place.path("image")).index("15");
    let first = place.run(&["copy", "oci:image:15", &server.image("a:1")]);
    assert_eq!((deliveries(&first, "sent"), deliveries(&first, "skipped")), (5, 0));
    let again = place.run(&["copy", "oci:image:15", &server.image("a:2")]);
    assert_eq!((deliveries(&again, "sent"), deliveries(&again, "skipped")), (0, 5));
    let mounted = place.run(&["copy", &server.image("a:1"), &server.image("b/c:1")]);
    assert_eq!(deliveries(&mounted, "mounted"), 5);
    assert_eq!(
        skopeo_digest(&format!("docker://{}", server.image("b/c:1")), &place.path("")),
        first["digest"]
    );
}

#[test]
fn one_platform_may_be_picked() {
    let (place, server) = (Place::new(), RegistryServer::start());
    let sample = Sample::new(&place.path("image"));
    let index = sample.index("15");
    place.run(&["copy", "oci:image:15", &server.image("a:15")]);
    let arm = place.run(&["copy", &server.image("a:15"), "oci:arm:15", "--platform", "linux/arm64"]);
    let wanted = sample.image("linux/arm64/v8", &[("shared", "the same"), ("own", "linux/arm64/v8")]);
    assert_eq!(arm["digest"], wanted.digest.to_string());

    let (_, said) = place.fail(&["copy", "oci:image:15", "oci:s390", "--platform", "linux/s390x"]);
    assert!(said.contains("failed to find linux/s390x") && said.contains("linux/arm64/v8"), "{said}");
    let (_, said) = place.fail(&["copy", "oci:arm:15", "oci:amd", "--platform", "linux/amd64"]);
    assert!(said.contains("it is an image for linux/arm64/v8"), "{said}");
    assert_ne!(arm["digest"], index.digest.to_string());
}

#[test]
fn a_damaged_blob_arrives_nowhere() {
    let (place, server) = (Place::new(), RegistryServer::start());
    let sample = Sample::new(&place.path("image"));
    let image = sample.image("linux/amd64", &[("file", "content")]);
    sample.name(&image, "15");
    let blobs = place.path("image/blobs/sha256");
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
        let (_, said) = place.fail(&["copy", "oci:image:15", target]);
        assert!(said.contains("wanted"), "{target}: {said}");
    }
    for name in ["a.tar", "d.tar"] {
        assert!(!place.path(name).exists(), "{name}");
    }
    let leftovers = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftovers.into_iter().all(|name| !name.to_string_lossy().starts_with(".carafe")));
    let (_, said) = place.fail(&["copy", &server.image("a:1"), "oci:never"]);
    assert!(said.contains("MANIFEST_UNKNOWN"), "{said}");
}
