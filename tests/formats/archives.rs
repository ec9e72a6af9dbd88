//! Archives: read by others, and always the same bytes.

use std::fs;

use serde_json::Value;

use crate::sample::Sample;
use crate::{Place, judge, skopeo_digest};

#[test]
fn archives_are_the_same_each_time_and_others_read_them() {
    let place = Place::new();
    let sample = Sample::new(&place.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world"), ("more", "of it")]);
    sample.name(&image, "15");
    let digest = image.digest.to_string();
    for kind in ["oci-archive", "docker-archive"] {
        let names = [format!("{kind}:one.tar:demo/erp:15"), format!("{kind}:two.tar:demo/erp:15")];
        let targets = ["copy", "oci:image:15", &names[0], &names[1], "--platform", "linux/amd64"];
        assert_eq!(place.run(&targets)["digest"], digest);
        assert_eq!(fs::read(place.path("one.tar")).unwrap(), fs::read(place.path("two.tar")).unwrap());
        // Both keep the manifest.
        let back = format!("oci:back-{kind}:15");
        assert_eq!(place.run(&["copy", &names[0], &back])["digest"], digest);
        assert_eq!(skopeo_digest(&back, &place.path("")), digest);
        let tree = format!("unpacked-{kind}");
        // skopeo gives what it unpacks to the archive's owner, root: as someone else only in a
        // user namespace.
        let copy = ["--map-root-user", "skopeo", "copy", &names[0], &format!("oci:{tree}:15")];
        judge("unshare", &copy, &place.path(""));
        judge(
            "umoci",
            &["unpack", "--rootless", "--image", &format!("{tree}:15"), "bundle"],
            &place.path(""),
        );
        assert_eq!(fs::read_to_string(place.path("bundle/rootfs/hello")).unwrap(), "world");
        fs::remove_dir_all(place.path("bundle")).unwrap();
    }
}

/// What `docker load` goes by. It was tried with Docker itself by hand: see docs/formats.md.
#[test]
fn a_docker_archive_names_its_files_and_its_image() {
    let place = Place::new();
    let sample = Sample::new(&place.path("image"));
    sample.index("15");
    place.run(&["copy", "oci:image:15", "docker-archive:named.tar:erp:15", "--platform", "linux/amd64"]);
    place.run(&["copy", "oci:image:15", "docker-archive:bare.tar", "--platform", "linux/amd64"]);
    let manifest = |file: &str| -> Value {
        serde_json::from_str(&judge("tar", &["-xOf", file, "manifest.json"], &place.path(""))).unwrap()
    };
    let named = manifest("named.tar");
    assert_eq!(named[0]["RepoTags"], serde_json::json!(["erp:15"]));
    assert_eq!(manifest("bare.tar")[0]["RepoTags"], serde_json::json!([]));
    let members = judge("tar", &["-tf", "named.tar"], &place.path(""));
    let files = named[0]["Layers"].as_array().unwrap().iter().chain([&named[0]["Config"]]);
    for file in files {
        assert!(members.lines().any(|member| member == file), "{file}");
    }
    judge("skopeo", &["inspect", "docker-archive:named.tar:erp:15"], &place.path(""));
}

#[test]
fn an_index_does_not_fit_into_a_docker_archive() {
    let place = Place::new();
    Sample::new(&place.path("image")).index("15");
    let (_, said) = place.fail(&["copy", "oci:image:15", "docker-archive:x.tar", "oci:other"]);
    assert!(said.contains("holds one image") && said.contains("--platform"), "{said}");
    assert!(!place.path("x.tar").exists());
}

#[test]
fn an_archive_replaces_what_was_there_only_when_it_is_whole() {
    let place = Place::new();
    let sample = Sample::new(&place.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world")]);
    sample.name(&image, "15");
    fs::write(place.path("x.tar"), "old").unwrap();
    let (_, said) = place.fail(&["copy", "oci:nothing", "oci-archive:x.tar"]);
    assert!(said.contains("nothing/index.json"), "{said}");
    assert_eq!(fs::read(place.path("x.tar")).unwrap(), b"old");
    place.run(&["copy", "oci:image:15", "oci-archive:x.tar"]);
    assert!(fs::metadata(place.path("x.tar")).unwrap().len() > 1024);
    let (_, said) = place.fail(&["copy", "oci:image:15", "oci-archive:no/such/directory/x.tar"]);
    assert!(said.contains("failed to write `no/such/directory/x.tar`"), "{said}");
}
