//! Arbitrary layers: no panic, and no change outside of the root.

mod unpack_support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackLimits;
use proptest::collection::vec;
use proptest::prelude::*;
use tar::EntryType;
use tempfile::tempdir;
use unpack_support::{Memory, Tar, gzip, listing, zstd};

/// Small enough that a mutated size cannot fill a disk.
fn limits() -> UnpackLimits {
    UnpackLimits { bytes: 1 << 20, entries: 1000, ..UnpackLimits::default() }
}

/// Unpacks beside a file that must not change, checks the surroundings, and returns the tree
/// if the image was accepted. `outside` is a directory to which names may refer.
fn unpack(outside: &Path, image: &Memory) -> Option<String> {
    let root = outside.join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.join("secret"), "untouched").unwrap();
    let before = fs::metadata(outside.join("secret")).unwrap();
    let accepted = image.unpack_within(&root, &limits()).is_ok();
    let tree = accepted.then(|| listing(&root));

    let mut names: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["root", "secret"]);
    let after = fs::metadata(outside.join("secret")).unwrap();
    assert_eq!((after.mode(), after.nlink()), (before.mode(), 1), "the file outside was reached");
    assert_eq!(after.mtime_nsec(), before.mtime_nsec());
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"untouched");
    fs::remove_dir_all(&root).unwrap();
    tree
}

fn unpack_blob(media_type: &str, blob: Vec<u8>, tar: &[u8]) {
    let outside = tempdir().unwrap();
    unpack(outside.path(), &Memory::stored(vec![(media_type, blob, Digest::of(tar))]));
}

/// One entry of each type that a layer may contain.
fn sample() -> Vec<u8> {
    Tar::new()
        .dir("./")
        .dir("directory")
        .file("directory/file", &"content".repeat(100))
        .symlink("link", "directory")
        .hard_link("link/other", "directory/file")
        .pax("path", b"by/pax")
        .file("short", "x")
        .file(&"long/".repeat(30), "")
        .file(".wh.gone", "")
        .entry(EntryType::Fifo, b"pipe", b"", 0o644, b"")
        .bytes()
}

/// Corrects the checksum of each header, so that the reader accepts changed headers.
fn correct_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn mutated(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (index, byte) in changes {
        let at = index.index(bytes.len());
        bytes[at] = *byte;
    }
    bytes
}

/// Names and link targets of entries. `@` is a directory outside of the root.
const NAMES: &[&str] = &[
    "a",
    "b",
    "a/b",
    "b/a",
    "a/b/a",
    "./a",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/..",
    "../secret",
    "@/secret",
    "@",
    "a/secret",
    "b/secret",
    "a/root/x",
    "/proc/self/cwd",
    ".wh.a",
    ".wh.b",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    ".wh..",
    ".wh.",
    ".wh..wh.aufs",
    "../../../../../../..",
    "a/../../secret",
    "",
    "b/a/../a",
];

fn kinds() -> impl Strategy<Value = EntryType> {
    prop::sample::select(vec![
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
    ])
}

type Entry = (EntryType, &'static str, &'static str, u32);

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let name = || prop::sample::select(NAMES);
    vec((kinds(), name(), name(), 0..0o10000_u32), 1..12)
}

fn layer(outside: &Path, entries: &[Entry]) -> Tar {
    let outside = outside.to_str().unwrap();
    entries.iter().fold(Tar::new(), |tar, (kind, name, link, mode)| {
        let (name, link) = (name.replace('@', outside), link.replace('@', outside));
        tar.entry(*kind, name.as_bytes(), link.as_bytes(), *mode, b"")
    })
}

/// A quarter of the requested cases (`PROPTEST_CASES`, 256 by default), because each creates many files.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases / 4, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_are_harmless(blob in vec(any::<u8>(), 0..4096)) {
        for media_type in [media_type::LAYER_TAR, media_type::LAYER_GZIP, media_type::LAYER_ZSTD] {
            unpack_blob(media_type, blob.clone(), &blob);
        }
    }

    #[test]
    fn changed_tars_are_harmless(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut tar = mutated(sample(), &changes);
        correct_checksums(&mut tar);
        unpack_blob(media_type::LAYER_TAR, tar.clone(), &tar);
    }

    #[test]
    fn changed_blobs_are_harmless(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let tar = sample();
        unpack_blob(media_type::LAYER_GZIP, mutated(gzip(&tar), &changes), &tar);
        unpack_blob(media_type::LAYER_ZSTD, mutated(zstd(&tar), &changes), &tar);
    }

    #[test]
    fn truncated_layers_are_harmless(length in any::<prop::sample::Index>()) {
        let tar = sample();
        let cut = tar[..length.index(tar.len())].to_vec();
        unpack_blob(media_type::LAYER_TAR, cut.clone(), &cut);
    }

    #[test]
    fn hostile_entries_stay_inside_of_the_root(layers in vec(entries(), 1..4)) {
        let outside = tempdir().unwrap();
        let tars: Vec<Tar> = layers.iter().map(|entries| layer(outside.path(), entries)).collect();
        let image = Memory::of(&tars);
        // A single layer may be unpacked further than an image with a rejected first layer.
        for tar in &tars {
            unpack(outside.path(), &Memory::of(std::slice::from_ref(tar)));
        }
        let first = unpack(outside.path(), &image);
        let again = unpack(outside.path(), &image);
        prop_assert_eq!(first, again, "the same layers gave different trees");
    }
}
