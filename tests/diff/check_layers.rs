//! A second implementation, written from docs/format.md, accepts the layers that Carafe packs.

use std::fs;
use std::path::Path;
use std::process::Command;

use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::media_type;
use tempfile::tempdir;

use crate::fixture::{USUAL, base, derive_image, groups, pack_all, write_tree};

fn checked(layout: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/check-layers");
    let output = Command::new(script).arg(layout).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn accepts_packed_layers_and_rejects_a_changed_one() {
    let directory = tempdir().unwrap();
    let (tree, path) = (directory.path().join("tree"), directory.path().join("layout"));
    fs::create_dir(&tree).unwrap();
    write_tree(&tree, USUAL);
    // The base is written to the same layout, which is complete then.
    let base = base(&path);
    let layout = LayoutWriter::create(&path).unwrap();
    let packed = pack_all(&groups(&tree), &layout, 2).unwrap();
    let image = derive_image(&base, &packed);
    layout.put_bytes(media_type::CONFIG, &image.config).unwrap();
    layout.put_bytes(media_type::MANIFEST, &image.manifest).unwrap();
    layout.finish(&image.descriptor, &[]).unwrap();
    let (is_valid, text) = checked(&path);
    assert!(is_valid, "{text}");
    assert_eq!(text.trim(), format!("{} layers are as they should be", packed.len() + 1));

    let blob = layout.blob_path(&packed[1].descriptor.digest);
    let bytes = fs::read(&blob).unwrap();
    fs::write(&blob, [&bytes[..], b"x"].concat()).unwrap();
    let (is_valid, text) = checked(&path);
    assert!(!is_valid && text.contains("bytes is ['sha256:"), "{text}");
}

#[test]
fn rejects_each_broken_rule() {
    use crate::images::image;
    use crate::unpack_support::Tar;
    use serde_json::json;

    let directory = tempdir().unwrap();
    let broken = [
        (Tar::new().file("b", "").file("a", ""), "`a`: order"),
        (Tar::new().dir("d"), "`d`: mtime 1700000000"),
        (Tar::new().hard_link("h", "x"), "`h`: type"),
        (Tar::new().pax("SCHILY.xattr.user.x", b"1").file("x", ""), "a record that is not needed"),
        (Tar::new().file("b/env/x", ""), "of a dependency"),
    ];
    for (at, (tar, reason)) in broken.into_iter().enumerate() {
        let path = directory.path().join(at.to_string());
        image(&path, &[tar], json!({}));
        let (is_valid, text) = checked(&path);
        assert!(!is_valid && text.contains(reason), "{reason}: {text}");
    }
}
