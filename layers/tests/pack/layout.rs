//! OCI layouts, written and read, by us and by others.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use carafe_layers::digest::Digest;
use carafe_layers::json::canonical_json;
use carafe_layers::layout::{LayoutError, LayoutSource, LayoutWriter};
use carafe_layers::oci::{Descriptor, Index, Platform, StringMap, media_type};
use carafe_layers::source::{ImageSource, SourceError, resolve};

use crate::fixture::{self, USUAL};

fn platform() -> Platform {
    Platform { architecture: "amd64".into(), ..Platform::host() }
}

/// A layout with the image `content`, called by `names`.
fn put(layout: &LayoutWriter, content: &str, names: &[&str]) -> Descriptor {
    let image = layout.put_bytes(media_type::MANIFEST, content.as_bytes()).unwrap();
    layout.finish(&image, names).unwrap();
    image
}

fn cause(error: &SourceError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn root(folder: &Path, reference: Option<&str>) -> Result<Vec<u8>, SourceError> {
    LayoutSource::open(folder, reference)?.root().map(|(_, bytes)| bytes)
}

#[test]
fn an_image_goes_in_and_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, folder) = (dir.path().join("tree"), dir.path().join("image"));
    fs::create_dir(&tree).unwrap();
    fixture::write_tree(&tree, USUAL);
    let base = fixture::base(&dir.path().join("base"));
    let layout = LayoutWriter::create(&folder).unwrap();
    let layers = fixture::pack_all(&fixture::groups(&tree), &layout, 2).unwrap();
    let image = fixture::derive_image(&base, &layers);
    layout.put_bytes(media_type::CONFIG, &image.config).unwrap();
    let descriptor = layout.put_bytes(media_type::MANIFEST, &image.manifest).unwrap();
    layout.finish(&descriptor, &["15", "latest"]).unwrap();

    let source = LayoutSource::open(&folder, Some("latest")).unwrap();
    let resolved = resolve(&source, &platform()).unwrap();
    assert_eq!(resolved.descriptor.digest, image.descriptor.digest);
    assert_eq!(resolved.manifest.layers.len(), 6);
    let mut bytes = Vec::new();
    source.blob(&resolved.manifest.layers[1]).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::of(&bytes), resolved.manifest.layers[1].digest);
    let index = fs::read_to_string(folder.join("index.json")).unwrap();
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
    assert_eq!(fs::read_to_string(folder.join("oci-layout")).unwrap(), r#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn names_move_and_other_names_stay() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("image");
    let layout = LayoutWriter::create(&folder).unwrap();
    put(&layout, "one", &["a", "b"]);
    assert_eq!(root(&folder, None).unwrap(), b"one");
    let two = put(&LayoutWriter::create(&folder).unwrap(), "two", &["b"]);
    assert_eq!(root(&folder, Some("a")).unwrap(), b"one");
    assert_eq!(root(&folder, Some("b")).unwrap(), b"two");
    assert_eq!(root(&folder, Some(&two.digest.to_string())).unwrap(), b"two");
    let error = root(&folder, None).unwrap_err().to_string();
    assert!(error.contains("2 images") && error.contains('a') && error.contains('b'), "{error}");
    let error = root(&folder, Some("c")).unwrap_err().to_string();
    assert!(error.starts_with("failed to find `c` in oci:"), "{error}");
}

#[test]
fn an_index_may_be_nested() {
    let dir = tempfile::tempdir().unwrap();
    let base = fixture::base(dir.path());
    let layout = LayoutWriter::create(dir.path()).unwrap();
    let manifest = Descriptor { platform: Some(platform()), ..base.descriptor.clone() };
    let index = Index {
        schema_version: 2,
        media_type: Some(media_type::INDEX.into()),
        manifests: vec![manifest],
        annotations: StringMap::new(),
        extra: Default::default(),
    };
    let index = layout.put_bytes(media_type::INDEX, &canonical_json(&index)).unwrap();
    layout.finish(&index, &["many"]).unwrap();
    let resolved = resolve(&LayoutSource::open(dir.path(), Some("many")).unwrap(), &platform()).unwrap();
    assert_eq!(resolved.root.digest, index.digest);
    assert_eq!(resolved.descriptor.digest, base.descriptor.digest);
}

#[test]
fn only_verified_streams_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(dir.path().join("image")).unwrap();
    let blob = Descriptor::of(media_type::LAYER_TAR, b"content");
    for wrong in [&b"Content"[..], b"conten", b"content and more"] {
        let error = layout.put_stream(&blob, wrong, Path::new("x")).unwrap_err();
        assert!(matches!(error, LayoutError::Mismatch { .. }), "{error}");
        assert!(!layout.contains(&blob));
    }
    fs::write(dir.path().join("file"), "content").unwrap();
    layout.adopt_file(&blob, &dir.path().join("file")).unwrap();
    assert!(layout.contains(&blob));
    assert!(!layout.contains(&Descriptor { size: 8, ..blob }));
}

#[test]
fn what_a_crash_leaves_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("image");
    let layout = LayoutWriter::create(&folder).unwrap();
    std::mem::forget(layout.blob().unwrap());
    fs::remove_file(folder.join("oci-layout")).unwrap();
    put(&LayoutWriter::create(&folder).unwrap(), "one", &[]);
    assert_eq!(root(&folder, None).unwrap(), b"one");
}

#[test]
fn a_folder_with_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "").unwrap();
    assert!(matches!(LayoutWriter::create(dir.path()), Err(LayoutError::NotALayout { .. })));
    fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(LayoutWriter::create(dir.path()), Err(LayoutError::NotALayout { .. })));
}

#[test]
fn a_layout_does_not_lead_out_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("image");
    let layout = LayoutWriter::create(&folder).unwrap();
    let image = put(&layout, "one", &[]);
    let blob = layout.blob_path(&image.digest);
    fs::rename(&blob, dir.path().join("outside")).unwrap();
    symlink(dir.path().join("outside"), &blob).unwrap();
    assert!(cause(&root(&folder, None).unwrap_err()).starts_with("a symbolic link is on the way"));
    fs::remove_file(&blob).unwrap();
    assert!(matches!(root(&folder, None), Err(SourceError::NotFound { .. })));
    fs::rename(folder.join("blobs"), dir.path().join("blobs")).unwrap();
    fs::rename(dir.path().join("outside"), dir.path().join("blobs/sha256").join(image.digest.hex())).unwrap();
    symlink(dir.path().join("blobs"), folder.join("blobs")).unwrap();
    assert!(cause(&root(&folder, None).unwrap_err()).starts_with("a symbolic link is on the way"));
}

#[test]
fn a_damaged_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("image");
    let layout = LayoutWriter::create(&folder).unwrap();
    assert!(matches!(root(&folder, None), Err(SourceError::Invalid { .. })), "no image yet");
    let image = put(&layout, "one", &[]);
    fs::write(layout.blob_path(&image.digest), "two").unwrap();
    assert!(matches!(root(&folder, None), Err(SourceError::DigestMismatch { .. })));
    fs::write(folder.join("index.json"), "{").unwrap();
    assert!(matches!(root(&folder, None), Err(SourceError::Parse { .. })));
    fs::write(folder.join("index.json"), vec![b' '; (4 << 20) + 1]).unwrap();
    assert!(matches!(root(&folder, None), Err(SourceError::Io { .. })));
    assert!(matches!(root(&dir.path().join("missing"), None), Err(SourceError::Io { .. })));
}
