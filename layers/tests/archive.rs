//! Images in a tar file: every form in which they come, and those that lie.

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
    _folder: TempDir,
    path: PathBuf,
}

impl Saved {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempdir().unwrap();
        let path = folder.path().join("image.tar");
        fs::write(&path, bytes).unwrap();
        Self { _folder: folder, path }
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

/// A docker archive of one image: its configured tars, and the layers as they are stored.
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

/// An OCI layout's members, each image with its annotations.
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
fn a_docker_archive_is_an_image() {
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
fn compressed_layers_keep_their_own_digest() {
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
fn equal_layers_may_be_links() {
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
fn a_layout_in_a_tar_is_preferred() {
    let image = Memory::of(&[Tar::new().file("from", "oci")]);
    let archive = oci(&[(&image, json!({}))]).raw(&docker(&[b""], &[("layer.tar", b"")]));
    let source = Saved::new(&archive.bytes()).open(None).unwrap();
    assert_eq!(tree_of(&source), "from 644 oci");
    assert_eq!(source.root().unwrap().0.digest, image.root().unwrap().0.digest);
}

#[test]
fn an_image_is_chosen_by_tag_or_name() {
    let (one, two) = (Memory::of(&[Tar::new().file("one", "")]), Memory::of(&[Tar::new().file("two", "")]));
    let named = |name: &str, tag: &str| json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
    let archive =
        oci(&[(&one, named("docker.io/library/erp:1", "1")), (&two, named("docker.io/library/erp:2", "2"))]);
    let saved = Saved::new(&archive.bytes());
    assert_eq!(tree_of(&saved.open(Some("2")).unwrap()), "two 644");
    assert_eq!(tree_of(&saved.open(Some("docker.io/library/erp:1")).unwrap()), "one 644");
    let words = saved.open(None).err().unwrap().to_string();
    assert!(words.contains("2 images, and one must be named") && words.contains("erp:1"), "{words}");
    assert!(saved.open(Some("3")).err().unwrap().to_string().contains("no such image"));
}

#[test]
fn one_image_may_have_several_names() {
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
fn a_tampered_layer_is_found_when_it_is_read() {
    let (first, second) = two_layers();
    let saved = Saved::new(&docker(&[&first], &[("layer.tar", &second)]).bytes());
    let source = saved.open(None).unwrap();
    let image = resolve(&source, &Platform::host()).unwrap();
    let root = tempdir().unwrap();
    let error = unpack_image(&source, &image, root.path(), &UnpackLimits::default(), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("failed to verify layer"), "{error}");
}

fn assert_refused(bytes: &[u8], reason: &str) {
    let saved = Saved::new(bytes);
    let words = match saved.open(None) {
        Err(error) => error.to_string(),
        Ok(source) => resolve(&source, &Platform::host()).expect_err("it was accepted").to_string(),
    };
    assert!(words.contains(reason), "{words}");
    assert!(words.contains("image.tar"), "{words}");
}

#[test]
fn what_is_no_archive_is_refused() {
    assert_refused(b"", "neither a docker archive");
    assert_refused(b"certainly not a tar", "it ends within a header");
    assert_refused(&[7; 4096], "no tar header at byte 0");
    assert_refused(&gzip(b"x"), "decompress the file first");
    assert_refused(&Tar::new().file("readme", "").bytes(), "neither a docker archive");
    let missing = ArchiveSource::open(&PathBuf::from("/nowhere.tar"), None).err().unwrap();
    assert!(missing.to_string().contains("`/nowhere.tar`"));
}

#[test]
fn members_that_lie_are_refused() {
    let (first, _) = two_layers();
    let whole = docker(&[&first], &[("layer.tar", &first)]).unfinished();
    assert_refused(&whole[..2048], "is cut off by the archive's end");
    let twice = docker(&[&first], &[("layer.tar", &first)]).file("./layer.tar", "other");
    assert_refused(&twice.bytes(), "two members named `./layer.tar`");
}

#[test]
fn links_that_lead_nowhere_are_refused() {
    let (first, _) = two_layers();
    let with_layer = |target: &str| {
        let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
        binary(Tar::new(), "config.json", &config(&[&first]))
            .symlink("layer.tar", target)
            .file("manifest.json", &manifest.to_string())
            .bytes()
    };
    for target in ["layer.tar", "missing", "/etc/passwd", "../../../../etc/passwd", ""] {
        assert_refused(&with_layer(target), "failed to find `layer.tar`");
    }
}

#[test]
fn documents_that_disagree_are_refused() {
    let (first, second) = two_layers();
    assert_refused(&docker(&[&first, &second], &[("l", &first)]).bytes(), "1 layers, and its config 2");
    let no_image = Tar::new().file("manifest.json", "[]");
    assert_refused(&no_image.bytes(), "no such image");
    assert_refused(&Tar::new().file("manifest.json", "{").bytes(), "failed to parse manifest");
    let no_config = json!([{"Config": "missing.json", "Layers": []}]).to_string();
    assert_refused(&Tar::new().file("manifest.json", &no_config).bytes(), "`missing.json`");
    let huge = " ".repeat(5 << 20);
    assert_refused(&Tar::new().file("manifest.json", &huge).bytes(), "over the limit");
    let layout =
        Tar::new().file("oci-layout", "{}").file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#);
    assert_refused(&layout.bytes(), "no such image");
}
