//! What must not be in a layer, and what a rejected layer leaves in the layout.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use carafe_layers::layout::LayoutWriter;
use carafe_layers::pack::{PackError, PackOptions, PackedLayer, pack};

use crate::fixture::{self, USUAL};

const SECRET: &[u8] = b"glpat-0123456789";

fn pack_with(tree: &Path, change: impl FnOnce()) -> (Result<Vec<PackedLayer>, PackError>, usize) {
    let groups = fixture::groups(tree);
    change();
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let secrets = [b"another secret".to_vec(), SECRET.to_vec()];
    let options = PackOptions { secrets: &secrets, ..fixture::options(2) };
    let packed = groups.iter().map(|group| pack(group, &layout, &options)).collect();
    let left = fs::read_dir(layout.path()).unwrap().count() - 3;
    (packed, left)
}

fn rejection(prepare: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    prepare(dir.path());
    let (packed, left) = pack_with(dir.path(), || change(dir.path()));
    assert_eq!(left, 0, "an unfinished file is left");
    let error = packed.unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}").replace(dir.path().to_str().unwrap(), "TREE")
}

#[test]
fn finds_a_secret_in_small_and_large_files() {
    let small = rejection(
        |tree| fs::write(tree.join("sites/c.json"), [b"{", SECRET, b"}"].concat()).unwrap(),
        |_| {},
    );
    assert_eq!(
        small,
        "failed to pack `home/frappe/frappe-bench/sites/c.json`: it contains a secret of this build"
    );
    // Across the boundary between two reads of a streamed file.
    let mut content = fixture::noise(3 << 20);
    content[(1 << 20) - 5..][..SECRET.len()].copy_from_slice(SECRET);
    let large = rejection(|tree| fs::write(tree.join("sites/dump"), content).unwrap(), |_| {});
    assert_eq!(
        large,
        "failed to pack `home/frappe/frappe-bench/sites/dump`: it contains a secret of this build"
    );
}

#[test]
fn finds_a_secret_in_names_and_links_without_printing_it() {
    let name = String::from_utf8(SECRET.to_vec()).unwrap();
    let named = rejection(|tree| fs::write(tree.join(format!("sites/x-{name}")), "").unwrap(), |_| {});
    assert_eq!(
        named,
        "failed to pack `home/frappe/frappe-bench/sites/x-***`: it contains a secret of this build"
    );
    let linked = rejection(|tree| symlink(format!("/x/{name}"), tree.join("sites/link")).unwrap(), |_| {});
    assert_eq!(
        linked,
        "failed to pack `home/frappe/frappe-bench/sites/link`: it contains a secret of this build"
    );
}

#[test]
fn rejects_a_file_that_changes() {
    let changed = "failed to pack `TREE/sites/apps.txt`: the size of the file changed while it was packed";
    for content in ["", "frappe\nshop\nmore\n"] {
        assert_eq!(
            rejection(|_| {}, |tree| fs::write(tree.join("sites/apps.txt"), content).unwrap()),
            changed
        );
    }
    for length in [3_400_000, 3_600_000] {
        let big = rejection(|_| {}, |tree| fs::write(tree.join("env/lib/big.bin"), vec![0; length]).unwrap());
        assert_eq!(
            big,
            "failed to pack `TREE/env/lib/big.bin`: the size of the file changed while it was packed"
        );
    }
}

#[test]
fn does_not_follow_a_link_that_replaced_a_file() {
    let swapped = rejection(
        |_| {},
        |tree| {
            fs::remove_file(tree.join("sites/apps.txt")).unwrap();
            symlink("../logs/../apps/shop/run", tree.join("sites/apps.txt")).unwrap();
        },
    );
    assert!(swapped.starts_with("failed to pack `TREE/sites/apps.txt`: Too many levels"), "{swapped}");
    let gone = rejection(|_| {}, |tree| fs::remove_file(tree.join("sites/apps.txt")).unwrap());
    assert!(gone.starts_with("failed to pack `TREE/sites/apps.txt`: No such file"), "{gone}");
}

#[test]
fn progress_reports_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let packed = AtomicU64::new(0);
    let count = |bytes| {
        packed.fetch_add(bytes, Ordering::Relaxed);
    };
    let groups = fixture::groups(dir.path());
    for group in &groups {
        pack(group, &layout, &PackOptions { progress: &count, ..fixture::options(1) }).unwrap();
    }
    let content: u64 = groups.iter().map(|group| group.content_bytes()).sum();
    assert_eq!(packed.into_inner(), content);
}
