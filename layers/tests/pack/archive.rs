//! Other programs read the layers: GNU tar, the tar crate, flate2.

use std::io::Read;
use std::process::Command;
use std::sync::Arc;

use carafe_layers::layout::LayoutWriter;
use carafe_layers::path::ImagePath;
use carafe_layers::tar_writer::TarWriter;
use carafe_layers::tree::{Entry, EntryKind, Owner, SourceMapping};
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use crate::fixture::{self, USUAL};

#[test]
fn gnu_tar_lists_every_layer_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    for layer in fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap() {
        for locale in ["C", "C.UTF-8"] {
            let output = Command::new("tar")
                .args(["--numeric-owner", "--full-time", "-tvzf"])
                .arg(layout.blob_path(&layer.descriptor.digest))
                .envs([("LC_ALL", locale), ("TZ", "UTC")])
                .output()
                .unwrap();
            assert!(output.status.success());
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", layer.name);
            let listing = String::from_utf8_lossy(&output.stdout).into_owned();
            let columns =
                |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
            let lines: Vec<String> = listing.lines().map(columns).collect();
            assert_eq!(lines.len() as u64, layer.entries, "{listing}");
            assert!(lines.iter().all(|line| line.contains(" 1000/1000 ")), "{listing}");
            let directory = "drwxr-xr-x 1000/1000 0 1980-01-01 00:00:00 home/frappe/frappe-bench/";
            assert_eq!(lines[0], directory);
        }
    }
}

#[test]
fn layers_contain_the_files() {
    let dir = tempfile::tempdir().unwrap();
    fixture::write_tree(dir.path(), USUAL);
    let image = tempfile::tempdir().unwrap();
    let layout = LayoutWriter::create(image.path().join("image")).unwrap();
    let mut files = 0;
    for layer in fixture::pack_all(&fixture::groups(dir.path()), &layout, 2).unwrap() {
        let blob = std::fs::File::open(layout.blob_path(&layer.descriptor.digest)).unwrap();
        let mut archive = tar::Archive::new(MultiGzDecoder::new(blob));
        for item in archive.entries().unwrap() {
            let mut item = item.unwrap();
            let path = item.path().unwrap().strip_prefix(fixture::BENCH).unwrap().to_owned();
            if item.header().entry_type().is_file() {
                let mut content = Vec::new();
                item.read_to_end(&mut content).unwrap();
                assert!(content == std::fs::read(dir.path().join(&path)).unwrap(), "{path:?}");
                files += 1;
            }
        }
    }
    assert_eq!(files, 14);
}

/// A path as a list of names: bytes other than slash and NUL, not `.` or `..`. Without newlines,
/// because the tar crate (unlike all other readers) ends a record of an extended header there.
fn path() -> impl Strategy<Value = ImagePath> {
    let byte =
        prop_oneof![4 => b'a'..=b'z', 1 => 1u8..=255].prop_filter("slash", |byte| !b"/\n".contains(byte));
    let name =
        proptest::collection::vec(byte, 1..130).prop_filter("dots", |name| name != b"." && name != b"..");
    proptest::collection::vec(name, 1..5).prop_map(|names| {
        use std::os::unix::ffi::OsStringExt;
        ImagePath::new(std::ffi::OsString::from_vec(names.join(&b'/'))).unwrap()
    })
}

fn kind() -> impl Strategy<Value = (EntryKind, Vec<u8>)> {
    let file =
        (proptest::collection::vec(any::<u8>(), 0..1200), any::<bool>()).prop_map(|(content, executable)| {
            (EntryKind::File { size: content.len() as u64, executable }, content)
        });
    let link =
        path().prop_map(|target| (EntryKind::Symlink { target: Arc::from(target.as_bytes()) }, Vec::new()));
    prop_oneof![3 => file, 1 => link, 1 => Just((EntryKind::Directory, Vec::new()))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_tar_crate_reads_back_what_was_written(
        items in proptest::collection::vec((path(), kind(), 0i64..9_000_000_000, any::<u32>()), 0..12)
    ) {
        let mut tar = TarWriter::new(Vec::new());
        let mut written = Vec::new();
        for (path, (kind, content), mtime, uid) in items {
            let mapping = SourceMapping { host: "/h".into(), image: ImagePath::root(), owner: Owner { uid, gid: 7 } };
            let entry = Entry { path, kind, mtime, mapping: Arc::new(mapping) };
            tar.entry(&entry).unwrap();
            tar.content(&content).unwrap();
            written.push((entry, content));
        }
        let bytes = tar.finish().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut read = archive.entries().unwrap();
        for (entry, content) in written {
            let mut item = read.next().unwrap().unwrap();
            let mut path = entry.path.as_bytes().to_vec();
            if entry.is_directory() {
                path.push(b'/');
            }
            prop_assert_eq!(item.path_bytes().into_owned(), path);
            let target = item.link_name_bytes().map(|target| target.into_owned());
            match &entry.kind {
                EntryKind::Symlink { target: wanted } => prop_assert_eq!(target.as_deref(), Some(&wanted[..])),
                _ => prop_assert_eq!(target, None),
            }
            let mut got = Vec::new();
            item.read_to_end(&mut got).unwrap();
            prop_assert_eq!(got, content);
            if entry.mtime < 0o77777777777 {
                prop_assert_eq!(item.header().mtime().unwrap() as i64, entry.mtime);
            }
        }
        prop_assert!(read.next().is_none());
    }
}
