//! Archives are byte-stable, and other tools read them.

use std::fs;

use serde_json::Value;

use crate::sample::Sample;
use crate::{TestDir, run_tool, skopeo_digest};

#[test]
fn archives_are_byte_stable_and_readable_by_skopeo_and_umoci() {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world"), ("more", "of it")]);
    sample.name(&image, "15");
    let digest = image.digest.to_string();
    for kind in ["oci-archive", "docker-archive"] {
        let names = [format!("{kind}:one.tar:demo/erp:15"), format!("{kind}:two.tar:demo/erp:15")];
        let targets = ["copy", "oci:image:15", &names[0], &names[1], "--platform", "linux/amd64"];
        assert_eq!(dir.run(&targets)["digest"], digest);
        assert_eq!(fs::read(dir.path("one.tar")).unwrap(), fs::read(dir.path("two.tar")).unwrap());
        // Both archive formats keep the manifest.
        let back = format!("oci:back-{kind}:15");
        assert_eq!(dir.run(&["copy", &names[0], &back])["digest"], digest);
        assert_eq!(skopeo_digest(&back, &dir.path("")), digest);
        let tree = format!("unpacked-{kind}");
        // skopeo changes the owner of unpacked files to root, the owner in the archive: an ordinary
        // user needs a user namespace for that.
        let copy = ["--map-root-user", "skopeo", "copy", &names[0], &format!("oci:{tree}:15")];
        run_tool("unshare", &copy, &dir.path(""));
        run_tool(
            "umoci",
            &["unpack", "--rootless", "--image", &format!("{tree}:15"), "bundle"],
            &dir.path(""),
        );
        assert_eq!(fs::read_to_string(dir.path("bundle/rootfs/hello")).unwrap(), "world");
        fs::remove_dir_all(dir.path("bundle")).unwrap();
    }
}

/// `docker load` reads manifest.json. docs/formats.md describes a manual test with Docker itself.
#[test]
fn manifest_json_of_a_docker_archive_names_files_and_tags() {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("image"));
    sample.index("15");
    dir.run(&["copy", "oci:image:15", "docker-archive:named.tar:erp:15", "--platform", "linux/amd64"]);
    dir.run(&["copy", "oci:image:15", "docker-archive:bare.tar", "--platform", "linux/amd64"]);
    let manifest = |file: &str| -> Value {
        serde_json::from_str(&run_tool("tar", &["-xOf", file, "manifest.json"], &dir.path(""))).unwrap()
    };
    let named = manifest("named.tar");
    assert_eq!(named[0]["RepoTags"], serde_json::json!(["erp:15"]));
    assert_eq!(manifest("bare.tar")[0]["RepoTags"], serde_json::json!([]));
    let members = run_tool("tar", &["-tf", "named.tar"], &dir.path(""));
    let files = named[0]["Layers"].as_array().unwrap().iter().chain([&named[0]["Config"]]);
    for file in files {
        assert!(members.lines().any(|member| member == file), "{file}");
    }
    run_tool("skopeo", &["inspect", "docker-archive:named.tar:erp:15"], &dir.path(""));
}

#[test]
fn rejects_an_index_for_a_docker_archive() {
    let dir = TestDir::new();
    Sample::new(&dir.path("image")).index("15");
    let (_, stderr) = dir.fail(&["copy", "oci:image:15", "docker-archive:x.tar", "oci:other"]);
    assert!(stderr.contains("it contains one image") && stderr.contains("--platform"), "{stderr}");
    assert!(!dir.path("x.tar").exists());
}

#[test]
fn replaces_an_existing_archive_only_with_a_complete_one() {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("image"));
    let image = sample.image("linux/amd64", &[("hello", "world")]);
    sample.name(&image, "15");
    fs::write(dir.path("x.tar"), "old").unwrap();
    let (_, stderr) = dir.fail(&["copy", "oci:nothing", "oci-archive:x.tar"]);
    assert!(stderr.contains("nothing/index.json"), "{stderr}");
    assert_eq!(fs::read(dir.path("x.tar")).unwrap(), b"old");
    dir.run(&["copy", "oci:image:15", "oci-archive:x.tar"]);
    assert!(fs::metadata(dir.path("x.tar")).unwrap().len() > 1024);
    let (_, stderr) = dir.fail(&["copy", "oci:image:15", "oci-archive:no/such/directory/x.tar"]);
    assert!(stderr.contains("failed to write `no/such/directory/x.tar`"), "{stderr}");
}
