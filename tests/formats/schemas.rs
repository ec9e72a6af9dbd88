//! The documents that Carafe writes conform to the JSON schemas of the image specification. The schemas
//! are in Debian's package `golang-github-opencontainers-image-spec-dev`, the validator is
//! `python3-jsonschema`.

use std::path::Path;
use std::process::Command;

use carafe_layers::image::{ImageChanges, derive};
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::pack::PackedLayer;
use carafe_layers::source::resolve;
use serde_json::{Value, json};

use crate::TestDir;
use crate::sample::Sample;

/// The error of the validator for a document; `None` if the document is valid.
fn schema_error(kind: &str, document: &Path) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/check-schema");
    let output = Command::new(script).arg(kind).arg(document).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => None,
        Some(3) => Some(stderr),
        _ => panic!("check-schema: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Validates every document of a layout and returns their number.
#[track_caller]
fn check_layout(layout: &Path) -> usize {
    let mut queue = vec![
        ("index".to_owned(), layout.join("index.json")),
        ("layout".to_owned(), layout.join("oci-layout")),
    ];
    let mut checked = 0;
    while let Some((kind, path)) = queue.pop() {
        assert_eq!(schema_error(&kind, &path), None, "{}", path.display());
        checked += 1;
        let document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let children = document["manifests"].as_array().into_iter().flatten().chain([&document["config"]]);
        for child in children {
            let kind = match child["mediaType"].as_str() {
                Some(media_type::INDEX) => "index",
                Some(media_type::MANIFEST) => "manifest",
                Some(media_type::CONFIG) => "config",
                _ => continue,
            };
            let hex = child["digest"].as_str().unwrap().trim_start_matches("sha256:");
            queue.push((kind.to_owned(), layout.join("blobs/sha256").join(hex)));
        }
    }
    checked
}

#[test]
fn every_index_manifest_and_config_is_valid() {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("made"));
    for (tag, platform) in [("amd", "linux/amd64"), ("arm", "linux/arm64/v8")] {
        sample.name(&sample.image(platform, &[("file", platform)]), tag);
    }
    dir.run(&["index", "create", "oci:index:15", "oci:made:amd", "oci:made:arm"]);
    // oci-layout, index.json, the image index, two manifests, two configs.
    assert_eq!(check_layout(&dir.path("index")), 7);
    for archive in ["oci-archive:a.tar:15", "docker-archive:d.tar:erp:15"] {
        dir.run(&["copy", "oci:made:amd", archive]);
        dir.run(&["copy", archive, "oci:again:15"]);
        assert_eq!(check_layout(&dir.path("again")), 4);
        let file = archive.split(':').nth(1).unwrap();
        let index = crate::run_tool("tar", &["-xOf", file, "index.json"], &dir.path(""));
        std::fs::write(dir.path("index.json"), index).unwrap();
        assert_eq!(schema_error("index", &dir.path("index.json")), None);
    }
}

#[test]
fn documents_derived_from_a_base_image_are_valid() {
    let dir = TestDir::new();
    let sample = Sample::new(&dir.path("made"));
    sample.name(&sample.image("linux/amd64", &[("file", "base")]), "base");
    let source = LayoutSource::open(dir.path("made"), Some("base")).unwrap();
    let base = resolve(&source, &"linux/amd64".parse().unwrap()).unwrap();
    let layer = base.manifest.layers[0].clone();
    let packed = PackedLayer {
        name: "rest".into(),
        descriptor: layer.clone(),
        diff_id: base.config.rootfs.diff_ids[0],
        uncompressed: 10,
        entries: 1,
    };
    let changes = ImageChanges {
        user: Some("frappe".to_owned()),
        entrypoint: Some(vec!["/start".to_owned()]),
        working_dir: Some("/home/frappe/frappe-bench".to_owned()),
        volumes: vec!["/home/frappe/frappe-bench/sites".to_owned()],
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        labels: [("dev.carafe.lock".to_owned(), "x".to_owned())].into(),
        annotations: [("a".to_owned(), "b".to_owned())].into(),
        base_name: Some("docker.io/frappe/base:15".to_owned()),
        created: 1_700_000_000,
        comment: Some("of a test".to_owned()),
        ..ImageChanges::default()
    };
    let image = derive(&base, &[packed], &changes).unwrap();
    let layout = LayoutWriter::create(dir.path("built")).unwrap();
    layout.put_bytes(media_type::CONFIG, &image.config).unwrap();
    layout.put_bytes(media_type::MANIFEST, &image.manifest).unwrap();
    layout.finish(&image.descriptor, &["15"]).unwrap();
    assert_eq!(check_layout(&dir.path("built")), 4);
}

#[test]
fn the_validator_rejects_an_invalid_document() {
    let dir = TestDir::new();
    let config = Descriptor::of(media_type::CONFIG, b"{}");
    let wrong = [
        ("manifest", json!({"schemaVersion": 2, "config": config})),
        ("manifest", json!({"schemaVersion": 1, "config": config, "layers": [config]})),
        ("index", json!({"schemaVersion": 2, "manifests": [{"mediaType": "x", "size": 1}]})),
        ("config", json!({"architecture": "amd64", "os": "linux"})),
        (
            "config",
            json!({"architecture": "amd64", "os": "linux", "created": 5,
            "rootfs": {"type": "layers", "diff_ids": []}}),
        ),
        ("layout", json!({"imageLayoutVersion": "2.0.0"})),
    ];
    for (kind, document) in wrong {
        let path = dir.path("document.json");
        std::fs::write(&path, document.to_string()).unwrap();
        assert!(schema_error(kind, &path).is_some(), "{document}");
    }
}
