//! Images in a tar file: every form, and false ones.

mod unpack_support;

use std::fs;
use std::path::PathBuf;

use carafe_layers::archive::ArchiveSource;
use carafe_layers::digest::Digest;
use carafe_layers::oci::{Platform, media_type};
use carafe_layers::source::{ImageSource, SourceError, resolve};
use carafe_layers::unpack::{UnpackLimits, unpack_image};
use serde_json::{Value, json};
use tar::EntryType;
use tempfile::{TempDir, tempdir};
use unpack_support::{Memory, Tar, gzip, listing};

struct Saved {
    _directory: TempDir,
    path: PathBuf,
}

impl Saved {
    fn new(bytes: &[u8]) -> Self {
        let directory = tempdir().unwrap();
        let path = directory.path().join("image.tar");
        fs::write(&path, bytes).unwrap();
        Self { _directory: directory, path }
    }

    fn open(&self, reference: Option<&str>) -> Result<ArchiveSource, SourceError> {
        ArchiveSource::open(&self.path, reference)
    }
}

fn binary(tar: Tar, name: &str, content: &[u8]) -> Tar {
    tar.entry(EntryType::Regular, name.as_bytes(), b"", 0o644, content)
}

fn config(tars: &[&[u8]]) -> Vec<u8> {
    let host = Platform::host();
    let diff_ids: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
    let config = json!({"architecture": host.architecture, "os": host.os, "config": {"Shell": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    serde_json::to_vec(&config).unwrap()
}

/// A docker archive of one image: `tars` are those of the config, `layers` the stored members.
fn docker(tars: &[&[u8]], layers: &[(&str, &[u8])]) -> Tar {
    let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["erp:15"], "Layers": names}]);
    let mut archive = binary(Tar::new(), "config.json", &config(tars));
    for (name, layer) in layers {
        archive = binary(archive, name, layer);
    }
    archive.file("manifest.json", &manifest.to_string())
}

fn tree_of(source: &ArchiveSource) -> String {
    let root = tempdir().unwrap();
    let image = resolve(source, &Platform::host()).unwrap();
    unpack_image(source, &image, root.path(), &UnpackLimits::default(), &|_| ()).unwrap();
    listing(root.path())
}

fn two_layers() -> (Vec<u8>, Vec<u8>) {
    (Tar::new().file("a", "1").bytes(), Tar::new().file("b", "2").file(".wh.a", "").bytes())
}

/// The members of an OCI layout, each image with its annotations.
fn oci(images: &[(&Memory, Value)]) -> Tar {
    let mut archive = Tar::new().file("./oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let mut manifests = Vec::new();
    for (image, annotations) in images {
        let (descriptor, bytes) = image.root().unwrap();
        let mut entry = serde_json::to_value(&descriptor).unwrap();
        entry["annotations"] = annotations.clone();
        manifests.push(entry);
        archive = binary(archive, &format!("./blobs/sha256/{}", descriptor.digest.hex()), &bytes);
        for (digest, blob) in &image.blobs {
            archive = binary(archive, &format!("./blobs/sha256/{}", digest.hex()), blob);
        }
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    archive.file("./index.json", &index.to_string())
}

#[test]
fn reads_a_docker_archive() {
    let (first, second) = two_layers();
    let archive = docker(&[&first, &second], &[("x/layer.tar", &first), ("y/layer.tar", &second)]);
    let saved = Saved::new(&archive.bytes());
    let source = saved.open(None).unwrap();
    assert_eq!(tree_of(&source), "b 644 2");
    let image = resolve(&source, &Platform::host()).unwrap();
    assert_eq!(image.config_bytes, config(&[&first, &second]));
    assert_eq!(image.manifest.layers[1].digest, Digest::of(&second));
    assert_eq!(image.manifest.layers[1].media_type, media_type::LAYER_TAR);
}

#[test]
fn a_compressed_layer_has_the_digest_of_its_blob() {
    let (first, _) = two_layers();
    let compressed = gzip(&first);
    let saved = Saved::new(&docker(&[&first], &[("layer.tar.gz", &compressed)]).bytes());
    let source = saved.open(None).unwrap();
    let image = resolve(&source, &Platform::host()).unwrap();
    assert_eq!(image.manifest.layers[0].digest, Digest::of(&compressed));
    assert_eq!(image.manifest.layers[0].media_type, media_type::LAYER_GZIP);
    assert_eq!(tree_of(&source), "a 644 1");
}

#[test]
fn follows_links_between_equal_layers() {
    let (first, _) = two_layers();
    let names = ["x/layer.tar", "y/layer.tar", "z/layer.tar"];
    let manifest = json!([{"Config": "config.json", "RepoTags": null, "Layers": names}]);
    let archive = binary(Tar::new(), "config.json", &config(&[&first, &first, &first]));
    let archive = binary(archive, "x/layer.tar", &first)
        .symlink("y/layer.tar", "../x/layer.tar")
        .hard_link("z/layer.tar", "y/layer.tar")
        .file("manifest.json", &manifest.to_string());
    assert_eq!(tree_of(&Saved::new(&archive.bytes()).open(None).unwrap()), "a 644 1");
}

#[test]
fn prefers_the_oci_layout_in_a_docker_archive() {
    let image = Memory::of(&[Tar::new().file("from", "oci")]);
    let archive = oci(&[(&image, json!({}))]).raw(&docker(&[b""], &[("layer.tar", b"")]));
    let source = Saved::new(&archive.bytes()).open(None).unwrap();
    assert_eq!(tree_of(&source), "from 644 oci");
    assert_eq!(source.root().unwrap().0.digest, image.root().unwrap().0.digest);
}

#[test]
fn selects_an_image_by_tag_or_name() {
    let (one, two) = (Memory::of(&[Tar::new().file("one", "")]), Memory::of(&[Tar::new().file("two", "")]));
    let named = |name: &str, tag: &str| json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    let archive =
        oci(&[(&one, named("docker.io/library/erp:1", "1")), (&two, named("docker.io/library/erp:2", "2"))]);
    let saved = Saved::new(&archive.bytes());
    assert_eq!(tree_of(&saved.open(Some("2")).unwrap()), "two 644");
    assert_eq!(tree_of(&saved.open(Some("docker.io/library/erp:1")).unwrap()), "one 644");
    let message = saved.open(None).err().unwrap().to_string();
    assert!(message.contains("2 images, so one must be named") && message.contains("erp:1"), "{message}");
    assert!(saved.open(Some("3")).err().unwrap().to_string().contains("it does not contain this image"));
}

#[test]
fn accepts_several_names_of_one_image() {
    let (first, _) = two_layers();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["a:1", "b:1", "a:2"], "Layers": ["l"]}]);
    let archive = binary(binary(Tar::new(), "config.json", &config(&[&first])), "l", &first);
    let saved = Saved::new(&archive.file("manifest.json", &manifest.to_string()).bytes());
    for reference in [None, Some("1"), Some("2"), Some("b:1")] {
        assert_eq!(tree_of(&saved.open(reference).unwrap()), "a 644 1");
    }
    assert!(saved.open(Some("c:1")).is_err());
}

#[test]
fn detects_a_modified_layer_while_reading_it() {
    let (first, second) = two_layers();
    let saved = Saved::new(&docker(&[&first], &[("layer.tar", &second)]).bytes());
    let source = saved.open(None).unwrap();
    let image = resolve(&source, &Platform::host()).unwrap();
    let root = tempdir().unwrap();
    let error = unpack_image(&source, &image, root.path(), &UnpackLimits::default(), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("failed to verify layer"), "{error}");
}

fn assert_rejected(bytes: &[u8], reason: &str) {
    let saved = Saved::new(bytes);
    let message = match saved.open(None) {
        Err(error) => error.to_string(),
        Ok(source) => resolve(&source, &Platform::host()).expect_err("it was accepted").to_string(),
    };
    assert!(message.contains(reason), "{message}");
    assert!(message.contains("image.tar"), "{message}");
}

#[test]
fn rejects_files_that_are_not_archives() {
    assert_rejected(b"", "neither a docker archive");
    assert_rejected(b"certainly not a tar", "the archive ends within a header");
    assert_rejected(&[7; 4096], "byte 0 is not a tar header");
    assert_rejected(&gzip(b"x"), "decompress it first");
    assert_rejected(&Tar::new().file("readme", "").bytes(), "neither a docker archive");
    let missing = ArchiveSource::open(&PathBuf::from("/nowhere.tar"), None).err().unwrap();
    assert!(missing.to_string().contains("`/nowhere.tar`"));
}

#[test]
fn rejects_truncated_and_duplicate_members() {
    let (first, _) = two_layers();
    let complete = docker(&[&first], &[("layer.tar", &first)]).unfinished();
    assert_rejected(&complete[..2048], "the archive ends within `layer.tar`");
    let twice = docker(&[&first], &[("layer.tar", &first)]).file("./layer.tar", "other");
    assert_rejected(&twice.bytes(), "two members named `./layer.tar`");
}

#[test]
fn rejects_invalid_links() {
    let (first, _) = two_layers();
    let with_layer = |target: &str| {
        let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
        binary(Tar::new(), "config.json", &config(&[&first]))
            .symlink("layer.tar", target)
            .file("manifest.json", &manifest.to_string())
            .bytes()
    };
    for target in ["layer.tar", "missing", "/etc/passwd", "../../../../etc/passwd", ""] {
        assert_rejected(&with_layer(target), "failed to find `layer.tar`");
    }
}

#[test]
fn rejects_inconsistent_documents() {
    let (first, second) = two_layers();
    assert_rejected(&docker(&[&first, &second], &[("l", &first)]).bytes(), "1 layers, its config 2");
    let no_image = Tar::new().file("manifest.json", "[]");
    assert_rejected(&no_image.bytes(), "it contains no image");
    assert_rejected(&Tar::new().file("manifest.json", "{").bytes(), "failed to parse manifest");
    let no_config = json!([{"Config": "missing.json", "Layers": []}]).to_string();
    assert_rejected(&Tar::new().file("manifest.json", &no_config).bytes(), "`missing.json`");
    let huge = " ".repeat(5 << 20);
    assert_rejected(&Tar::new().file("manifest.json", &huge).bytes(), "exceeds the limit");
    let layout =
        Tar::new().file("oci-layout", "{}").file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#);
    assert_rejected(&layout.bytes(), "it contains no image");
}
