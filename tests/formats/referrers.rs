//! Copies referrers with an image.

use std::collections::BTreeSet;

use carafe_layers::oci::Descriptor;
use carafe_layers::referrers;
use serde_json::Value;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{TestDir, run_tool};

/// An index in a layout, with an SBOM for the index, an SBOM for one platform, and a signature of an
/// SBOM.
fn signed(dir: &TestDir) -> (Sample, Descriptor, Vec<Descriptor>) {
    let sample = Sample::new(&dir.path("image"));
    let index = sample.index("15");
    let amd = sample.image("linux/amd64", &[("shared", "the same"), ("own", "linux/amd64")]);
    let sbom = sample.referrer(&index, "application/spdx+json");
    let part = sample.referrer(&amd, "application/spdx+json");
    let signature = sample.referrer(&sbom, "application/vnd.example.signature");
    for (subject, referrer) in [(&index, &sbom), (&amd, &part), (&sbom, &signature)] {
        let list = referrers::list([referrer.clone()]);
        let list = sample.blob(&list.descriptor.media_type, &list.bytes);
        sample.name(&list, &referrers::tag(&subject.digest));
    }
    (sample, index, vec![sbom, part, signature])
}

fn at(dir: &TestDir, name: &str) -> Value {
    let raw = run_tool("skopeo", &["inspect", "--raw", "--tls-verify=false", name], &dir.path(""));
    serde_json::from_str(&raw).unwrap()
}

/// docker-registry 2 has no referrers API: the lists are stored under fallback tags.
#[test]
fn uses_fallback_tags_without_a_referrers_api() {
    let (dir, server, other) = (TestDir::new(), RegistryServer::start(), RegistryServer::start());
    let (_, index, all) = signed(&dir);
    dir.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let list =
        at(&dir, &format!("docker://{}", server.image(&format!("erp:{}", referrers::tag(&index.digest)))));
    let entry = &list["manifests"][0];
    assert_eq!(entry["digest"], all[0].digest.to_string());
    assert_eq!(
        (&entry["artifactType"], &entry["annotations"]["made"]),
        (&"application/spdx+json".into(), &"by hand".into())
    );

    // A second copy changes nothing, and the referrers can be copied onward.
    dir.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let stations = [
        server.image("erp:15"),
        "oci-archive:x.tar:15".to_owned(),
        other.image("new:1"),
        "oci:copy:15".to_owned(),
    ];
    for leg in stations.windows(2) {
        let result = dir.run(&["copy", &leg[0], &leg[1], "--referrers"]);
        assert_eq!(result["digest"], index.digest.to_string());
    }
    let lists: BTreeSet<String> = at_index(&dir, "copy");
    assert_eq!(lists, at_index(&dir, "image"));
    for referrer in &all {
        assert!(dir.path(&format!("copy/blobs/sha256/{}", referrer.digest.hex())).exists());
    }
}

/// The tags in a layout's index.
fn at_index(dir: &TestDir, layout: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(dir.path(&format!("{layout}/index.json"))).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let name = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned()
    };
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn copies_no_referrers_without_the_flag() {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    let (_, index, _) = signed(&dir);
    dir.run(&["copy", "oci:image:15", &server.image("erp:15")]);
    let tag = server.image(&format!("erp:{}", referrers::tag(&index.digest)));
    let (_, stderr) = dir.fail(&["copy", &tag, "oci:never"]);
    assert!(stderr.contains("MANIFEST_UNKNOWN"), "{stderr}");
}

#[test]
fn adds_to_an_existing_list_of_referrers() {
    let (dir, server) = (TestDir::new(), RegistryServer::start());
    let (sample, index, _) = signed(&dir);
    dir.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let second = sample.referrer(&index, "application/vnd.example.provenance");
    sample.name(&second, "provenance");
    // An artifact that is pushed on its own is listed too.
    dir.run(&["copy", "oci:image:provenance", &server.image("erp:provenance")]);
    let list =
        at(&dir, &format!("docker://{}", server.image(&format!("erp:{}", referrers::tag(&index.digest)))));
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_layout_with_fallback_tags_has_one_image() {
    let dir = TestDir::new();
    let (_, index, _) = signed(&dir);
    assert_eq!(dir.run(&["copy", "oci:image", "oci:copy:1"])["digest"], index.digest.to_string());
}

#[test]
fn rejects_referrers_for_a_docker_archive() {
    let dir = TestDir::new();
    signed(&dir);
    let arguments =
        ["copy", "oci:image:15", "docker-archive:x.tar", "--referrers", "--platform", "linux/amd64"];
    let (_, stderr) = dir.fail(&arguments);
    assert!(stderr.contains("cannot contain referrers"), "{stderr}");
}
