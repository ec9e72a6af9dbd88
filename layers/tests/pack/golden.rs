//! Digests that must not change within a format-version: a rebuild with a later version of Carafe must
//! give the same image. If a test here fails, either the change is an error, or it needs a new
//! format-version and an entry under 'Image bytes' in the changelog. Then `make goldens` writes the
//! file.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use std::io;
use std::sync::Arc;

use carafe_layers::digest::Digest;
use carafe_layers::layout::LayoutWriter;
use carafe_layers::pack::{PackedLayer, pack};
use carafe_layers::tar_reader::TarReader;
use carafe_layers::tar_writer::TarWriter;
use carafe_layers::tree::{Entry, EntryKind, Owner, SourceMapping};

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

const GIB: u64 = 1 << 30;

fn entry(path: &str, kind: EntryKind, mtime: i64, id: u32) -> Entry {
    let mapping =
        SourceMapping { owner: Owner { uid: id, gid: id }, ..fixture::mapping(Path::new("/nowhere")) };
    Entry { path: fixture::image_path(path), kind, mtime, mapping: Arc::new(mapping) }
}

/// Entries that a tree of a test cannot contain: the sizes, owners and times that exceed a field, and
/// the lengths at which a name is split or becomes a record. Only their headers are written.
fn extremes() -> Vec<(&'static str, Entry)> {
    let file = |size| EntryKind::File { size, executable: false };
    let link = |length| EntryKind::Symlink { target: "t".repeat(length).into_bytes().into() };
    let (now, id) = (fixture::COMMIT_TIME, 1000);
    let path = |directory: usize, name: usize| format!("{}/{}", "f".repeat(directory), "n".repeat(name));
    let max = u32::MAX;
    vec![
        ("size-8GiB-1", entry("a", file(8 * GIB - 1), now, id)),
        ("size-8GiB", entry("a", file(8 * GIB), now, id)),
        ("size-10TiB", entry("a", file(10_240 * GIB), now, id)),
        ("owner-2097151", entry("a", file(0), now, 2_097_151)),
        ("owner-2097152", entry("a", file(0), now, 2_097_152)),
        ("owner-max", entry("a", file(0), now, max)),
        ("mtime-0", entry("a", file(0), 0, id)),
        ("mtime-before-1970", entry("a", file(0), -1, id)),
        ("mtime-8589934591", entry("a", file(0), 8_589_934_591, id)),
        ("mtime-8589934592", entry("a", file(0), 8_589_934_592, id)),
        ("name-100", entry(&"n".repeat(100), file(0), now, id)),
        ("name-101", entry(&"n".repeat(101), file(0), now, id)),
        ("folder-99", entry(&"n".repeat(99), EntryKind::Directory, now, id)),
        ("folder-100", entry(&"n".repeat(100), EntryKind::Directory, now, id)),
        ("split-155-100", entry(&path(155, 100), file(0), now, id)),
        ("split-156-99", entry(&path(156, 99), file(0), now, id)),
        ("path-4096", entry(&path(255, 3840), file(0), now, id)),
        ("link-100", entry("a", link(100), now, id)),
        ("link-101", entry("a", link(101), now, id)),
        ("all-at-once", entry(&format!("{}ü", "n".repeat(300)), file(9 * GIB), -1, max)),
    ]
}

fn header(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    TarWriter::new(&mut bytes).entry(entry).unwrap();
    bytes
}

#[test]
fn golden_digests_of_format_1() {
    let mut digests = digests(USUAL, 2);
    for (name, entry) in extremes() {
        let bytes = header(&entry);
        digests += &format!("1 header {name} {} {}\n", Digest::of(&bytes), bytes.len());
    }
    if std::env::var_os("CARAFE_REGENERATE_GOLDENS").is_some() {
        fs::write(goldens(), &digests).unwrap();
    }
    assert_eq!(digests, fs::read_to_string(goldens()).unwrap());
}

#[test]
fn digests_are_independent_of_the_machine() {
    let usual = digests(USUAL, 1);
    let other = Manner { reversed: true, plain_mode: 0o600, executable_mode: 0o6711, directory_mode: 0o3775 };
    for (manner, threads) in [(other, 1), (USUAL, 3), (other, 7)] {
        assert_eq!(digests(manner, threads), usual, "{threads} threads");
    }
}

/// The file does not exist: its zeros are written into a sink that counts them.
#[test]
fn writes_and_reads_the_size_of_a_file_above_8_gib() {
    #[derive(Default)]
    struct Counter(u64);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let size = 8 * GIB + 1;
    let huge = entry("a", EntryKind::File { size, executable: false }, 0, 0);
    let mut tar = TarWriter::new(Counter::default());
    tar.entry(&huge).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..8 * GIB / zeros.len() as u64 {
        tar.content(&zeros).unwrap();
    }
    assert!(tar.content(&[0; 2]).is_err(), "one byte is left");
    tar.content(&[0]).unwrap();
    let headers = header(&huge);
    let end = 1024;
    assert_eq!(tar.finish().unwrap().0, headers.len() as u64 + size.next_multiple_of(512) + end);

    let mut reader = TarReader::new(headers.as_slice());
    assert_eq!(reader.next_member().unwrap().unwrap().size, size);
}

#[test]
fn the_format_documentation_names_the_version_of_zlib_rs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (lock, document) = (read("Cargo.lock"), read("docs/format.md"));
    let (_, rest) = lock.split_once("name = \"zlib-rs\"\nversion = \"").unwrap();
    let (version, rest) = rest.split_once('"').unwrap();
    assert!(document.contains(&format!("by zlib-rs {version};")), "{version}");
    assert!(!rest.contains("name = \"zlib-rs\""), "only one zlib-rs is in the tree");
    assert!(read("Cargo.toml").contains(&format!("zlib-rs = \"={version}\"")));
}

#[test]
fn layers_that_are_packed_concurrently_are_equal() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let groups = fixture::groups(dir.path());
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let one_by_one = fixture::pack_all(&groups, &layout, 1).unwrap();
    let concurrently: Vec<PackedLayer> = thread::scope(|scope| {
        let layout = &layout;
        let start = |group| scope.spawn(move || pack(group, layout, &fixture::options(2)).unwrap());
        let running: Vec<_> = groups.iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(concurrently, one_by_one);
    assert_eq!(fs::read_dir(layout.path()).unwrap().count(), 3, "no unfinished file is left");
}

#[test]
fn a_changed_app_changes_only_its_own_layer() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let before = fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap();
    fs::write(dir.path().join("apps/frappe/new.py"), "x = 1\n").unwrap();
    let after = fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap();
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert_eq!(changed.map(|(before, _)| before.name.as_str()).collect::<Vec<_>>(), ["frappe"]);
}
