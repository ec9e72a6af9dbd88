//! What refers to an image comes along.

use std::collections::BTreeSet;

use carafe_layers::oci::Descriptor;
use carafe_layers::referrers;
use serde_json::Value;

use crate::sample::Sample;
use crate::server::RegistryServer;
use crate::{Place, judge};

/// An index in a layout, with an SBOM of it, one of a platform, and a signature of an SBOM.
fn signed(place: &Place) -> (Sample, Descriptor, Vec<Descriptor>) {
    let sample = Sample::new(&place.path("image"));
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

fn at(place: &Place, name: &str) -> Value {
    let raw = judge("skopeo", &["inspect", "--raw", "--tls-verify=false", name], &place.path(""));
    serde_json::from_str(&raw).unwrap()
}

/// docker-registry 2 does not keep track of referrers: the lists are kept under tags.
#[test]
fn referrers_are_listed_under_tags_where_the_registry_does_not() {
    let (place, server, other) = (Place::new(), RegistryServer::start(), RegistryServer::start());
    let (_, index, all) = signed(&place);
    place.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let list =
        at(&place, &format!("docker://{}", server.image(&format!("erp:{}", referrers::tag(&index.digest)))));
    let entry = &list["manifests"][0];
    assert_eq!(entry["digest"], all[0].digest.to_string());
    assert_eq!(
        (&entry["artifactType"], &entry["annotations"]["made"]),
        (&"application/spdx+json".into(), &"by hand".into())
    );

    // Twice makes no difference, and from there on to everywhere.
    place.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let stations = [
        server.image("erp:15"),
        "oci-archive:x.tar:15".to_owned(),
        other.image("new:1"),
        "oci:copy:15".to_owned(),
    ];
    for leg in stations.windows(2) {
        let result = place.run(&["copy", &leg[0], &leg[1], "--referrers"]);
        assert_eq!(result["digest"], index.digest.to_string());
    }
    let lists: BTreeSet<String> = at_index(&place, "copy");
    assert_eq!(lists, at_index(&place, "image"));
    for referrer in &all {
        assert!(place.path(&format!("copy/blobs/sha256/{}", referrer.digest.hex())).exists());
    }
}

/// The names in a layout's index.
fn at_index(place: &Place, layout: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(place.path(&format!("{layout}/index.json"))).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let name = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned()
    };
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn without_the_flag_they_stay() {
    let (place, server) = (Place::new(), RegistryServer::start());
    let (_, index, _) = signed(&place);
    place.run(&["copy", "oci:image:15", &server.image("erp:15")]);
    let tag = server.image(&format!("erp:{}", referrers::tag(&index.digest)));
    let (_, said) = place.fail(&["copy", &tag, "oci:never"]);
    assert!(said.contains("MANIFEST_UNKNOWN"), "{said}");
}

#[test]
fn a_list_is_added_to_and_not_replaced() {
    let (place, server) = (Place::new(), RegistryServer::start());
    let (sample, index, _) = signed(&place);
    place.run(&["copy", "oci:image:15", &server.image("erp:15"), "--referrers"]);
    let second = sample.referrer(&index, "application/vnd.example.provenance");
    sample.name(&second, "provenance");
    // An artifact that is pushed by itself is listed too.
    place.run(&["copy", "oci:image:provenance", &server.image("erp:provenance")]);
    let list =
        at(&place, &format!("docker://{}", server.image(&format!("erp:{}", referrers::tag(&index.digest)))));
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn a_layout_with_lists_holds_one_image() {
    let place = Place::new();
    let (_, index, _) = signed(&place);
    assert_eq!(place.run(&["copy", "oci:image", "oci:copy:1"])["digest"], index.digest.to_string());
}

#[test]
fn a_docker_archive_takes_no_referrers() {
    let place = Place::new();
    signed(&place);
    let arguments =
        ["copy", "oci:image:15", "docker-archive:x.tar", "--referrers", "--platform", "linux/amd64"];
    let (_, said) = place.fail(&arguments);
    assert!(said.contains("no room for what refers to an image"), "{said}");
}
