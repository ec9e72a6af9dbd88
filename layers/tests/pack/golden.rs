//! Digests that must not move within a format-version: whoever rebuilds an image with a later
//! Carafe must get the same one. If a test here fails, either the change is a mistake, or it needs
//! a new format-version and an entry under 'Image bytes' in the changelog. Then
//! `CARAFE_REGENERATE_GOLDENS=1 cargo test -p carafe-layers --test pack golden` writes the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use carafe_layers::layout::LayoutWriter;
use carafe_layers::pack::{PackedLayer, pack};

use crate::fixture::{self, Manner, USUAL};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pack/goldens.txt")
}

/// One line for every digest of the image.
fn digests(manner: Manner, threads: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fixture::write_tree(&tree, manner);
    let layout = LayoutWriter::create(dir.path().join("image")).unwrap();
    let layers = fixture::pack_all(&fixture::groups(&tree), &layout, threads).unwrap();
    let image = fixture::derive_image(&fixture::base(&dir.path().join("base")), &layers);
    let line = |layer: &PackedLayer| {
        format!(
            "1 layer {} {} {} {} {}\n",
            layer.name, layer.descriptor.digest, layer.descriptor.size, layer.diff_id, layer.uncompressed
        )
    };
    let mut text: String = layers.iter().map(line).collect();
    text += &format!("1 config {} {}\n", image.config_descriptor.digest, image.config_descriptor.size);
    text += &format!("1 manifest {} {}\n", image.descriptor.digest, image.descriptor.size);
    text
}

#[test]
fn golden_digests_of_format_1() {
    let digests = digests(USUAL, 2);
    if std::env::var_os("CARAFE_REGENERATE_GOLDENS").is_some() {
        fs::write(goldens(), &digests).unwrap();
    }
    assert_eq!(digests, fs::read_to_string(goldens()).unwrap());
}

#[test]
fn the_machine_does_not_show() {
    let usual = digests(USUAL, 1);
    let other = Manner { reversed: true, plain_mode: 0o600, executable_mode: 0o700, folder_mode: 0o2775 };
    for (manner, threads) in [(other, 1), (USUAL, 3), (other, 7)] {
        assert_eq!(digests(manner, threads), usual, "{threads} threads");
    }
}

#[test]
fn layers_packed_side_by_side_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let groups = fixture::groups(dir.path());
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let one_by_one = fixture::pack_all(&groups, &layout, 1).unwrap();
    let at_once: Vec<PackedLayer> = thread::scope(|scope| {
        let layout = &layout;
        let start = |group| scope.spawn(move || pack(group, layout, &fixture::options(2)).unwrap());
        let running: Vec<_> = groups.iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(at_once, one_by_one);
    assert_eq!(fs::read_dir(layout.path()).unwrap().count(), 3, "no unfinished file is left");
}

#[test]
fn a_changed_app_moves_its_own_layer_only() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let before = fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap();
    fs::write(dir.path().join("apps/frappe/new.py"), "x = 1\n").unwrap();
    let after = fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap();
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert_eq!(moved.map(|(before, _)| before.name.as_str()).collect::<Vec<_>>(), ["frappe"]);
}
