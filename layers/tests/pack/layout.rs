//! Writing and reading OCI layouts.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use carafe_layers::digest::Digest;
use carafe_layers::json::canonical_json;
use carafe_layers::layout::{LayoutError, LayoutSource, LayoutWriter};
use carafe_layers::oci::{Descriptor, Index, Platform, media_type};
use carafe_layers::source::{ImageSource, SourceError, resolve};

use crate::fixture::{self, USUAL};

fn platform() -> Platform {
    Platform { architecture: "amd64".into(), ..Platform::host() }
}

/// Adds the image `content` with `names` to a layout.
fn put(layout: &LayoutWriter, content: &str, names: &[&str]) -> Descriptor {
    let image = layout.put_bytes(media_type::MANIFEST, content.as_bytes()).unwrap();
    layout.finish(&image, names).unwrap();
    image
}

fn cause(error: &SourceError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn root(directory: &Path, reference: Option<&str>) -> Result<Vec<u8>, SourceError> {
    LayoutSource::open(directory, reference)?.root().map(|(_, bytes)| bytes)
}

#[test]
fn reads_back_a_written_image() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, directory) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    fixture::write_tree(&tree, USUAL);
    let base = fixture::base(&dir.path().join("base"));
    let layout = LayoutWriter::create(&directory).unwrap();
    let layers = fixture::pack_all(&fixture::groups(&tree), &layout, 2).unwrap();
    let image = fixture::derive_image(&base, &layers);
    layout.put_bytes(media_type::CONFIG, &image.config).unwrap();
    let descriptor = layout.put_bytes(media_type::MANIFEST, &image.manifest).unwrap();
    layout.finish(&descriptor, &["15", "latest"]).unwrap();

    let source = LayoutSource::open(&directory, Some("latest")).unwrap();
    let resolved = resolve(&source, &platform()).unwrap();
    assert_eq!(resolved.descriptor.digest, image.descriptor.digest);
    assert_eq!(resolved.manifest.layers.len(), 6);
    let mut bytes = Vec::new();
    source.blob(&resolved.manifest.layers[1]).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), resolved.manifest.layers[1].digest);
    let index = fs::read_to_string(directory.join("index.json")).unwrap();
    let entry = |name: &str| {
        format!(
            r#"{{"annotations":{{"org.opencontainers.image.ref.name":"{name}"}},"digest":"{}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":{}}}"#,
            descriptor.digest, descriptor.size
        )
    };
    assert_eq!(
        index,
        format!(
            r#"{{"manifests":[{},{}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#,
            entry("15"),
            entry("latest")
        )
    );
    assert_eq!(
        fs::read_to_string(directory.join("oci-layout")).unwrap(),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );
}

#[test]
fn an_image_takes_over_its_names_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("image");
    let layout = LayoutWriter::create(&directory).unwrap();
    put(&layout, "one", &["a", "b"]);
    assert_eq!(root(&directory, None).unwrap(), b"one");
    let two = put(&LayoutWriter::create(&directory).unwrap(), "two", &["b"]);
    assert_eq!(root(&directory, Some("a")).unwrap(), b"one");
    assert_eq!(root(&directory, Some("b")).unwrap(), b"two");
    assert_eq!(root(&directory, Some(&two.digest.to_string())).unwrap(), b"two");
    let error = root(&directory, None).unwrap_err().to_string();
    assert!(error.contains("2 images") && error.contains('a') && error.contains('b'), "{error}");
    let error = root(&directory, Some("c")).unwrap_err().to_string();
    assert!(error.starts_with("failed to find `c` in oci:"), "{error}");
}

#[test]
fn an_index_may_be_nested() {
    let dir = tempfile::tempdir().unwrap();
    let base = fixture::base(dir.path());
    let layout = LayoutWriter::create(dir.path()).unwrap();
    let manifest = Descriptor { platform: Some(platform()), ..base.descriptor.clone() };
    let index = layout.put_bytes(media_type::INDEX, &canonical_json(&Index::of(vec![manifest]))).unwrap();
    layout.finish(&index, &["many"]).unwrap();
    let resolved = resolve(&LayoutSource::open(dir.path(), Some("many")).unwrap(), &platform()).unwrap();
    assert_eq!(resolved.root.digest, index.digest);
    assert_eq!(resolved.descriptor.digest, base.descriptor.digest);
}

#[test]
fn stores_only_verified_streams() {
    let dir = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(dir.path().join("image")).unwrap();
    let blob = Descriptor::of(media_type::LAYER_TAR, b"content");
    for wrong in [&b"Content"[..], b"conten", b"content and more"] {
        let error = layout.put_stream(&blob, wrong, Path::new("x")).unwrap_err();
        assert!(matches!(error, LayoutError::Mismatch { .. }), "{error}");
        assert!(!layout.contains(&blob));
    }
    fs::write(dir.path().join("file"), "content").unwrap();
    layout.put_file(&blob, &dir.path().join("file")).unwrap();
    assert!(layout.contains(&blob));
    assert!(!layout.contains(&Descriptor { size: 8, ..blob }));
}

#[test]
fn continues_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("image");
    let layout = LayoutWriter::create(&directory).unwrap();
    std::mem::forget(layout.blob().unwrap());
    fs::remove_file(directory.join("oci-layout")).unwrap();
    put(&LayoutWriter::create(&directory).unwrap(), "one", &[]);
    assert_eq!(root(&directory, None).unwrap(), b"one");
}

#[test]
fn rejects_a_directory_with_other_content() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(LayoutWriter::create(dir.path()), Err(LayoutError::NotALayout { .. })));
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(LayoutWriter::create(dir.path()), Err(LayoutError::NotALayout { .. })));
}

#[test]
fn does_not_follow_links_out_of_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("image");
    let layout = LayoutWriter::create(&directory).unwrap();
    let image = put(&layout, "one", &[]);
    let blob = layout.blob_path(&image.digest);
    fs::rename(&blob, dir.path().join("outside")).unwrap();
    symlink(dir.path().join("outside"), &blob).unwrap();
    assert!(cause(&root(&directory, None).unwrap_err()).starts_with("the path contains a symbolic link"));
    fs::remove_file(&blob).unwrap();
    assert!(matches!(root(&directory, None), Err(SourceError::NotFound { .. })));
    fs::rename(directory.join("blobs"), dir.path().join("blobs")).unwrap();
    fs::rename(dir.path().join("outside"), dir.path().join("blobs/sha256").join(image.digest.hex())).unwrap();
    symlink(dir.path().join("blobs"), directory.join("blobs")).unwrap();
    assert!(cause(&root(&directory, None).unwrap_err()).starts_with("the path contains a symbolic link"));
}

#[test]
fn rejects_a_damaged_layout() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("image");
    let layout = LayoutWriter::create(&directory).unwrap();
    assert!(matches!(root(&directory, None), Err(SourceError::Invalid { .. })), "no image yet");
    let image = put(&layout, "one", &[]);
    fs::write(layout.blob_path(&image.digest), "two").unwrap();
    assert!(matches!(root(&directory, None), Err(SourceError::DigestMismatch { .. })));
    fs::write(directory.join("index.json"), "{").unwrap();
    assert!(matches!(root(&directory, None), Err(SourceError::Parse { .. })));
    fs::write(directory.join("index.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(matches!(root(&directory, None), Err(SourceError::Io { .. })));
    assert!(matches!(root(&dir.path().join("missing"), None), Err(SourceError::Io { .. })));
}
