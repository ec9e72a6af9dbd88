//! Layers and images that are damaged, tampered with, or not what they say.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, Platform, media_type};
use carafe_layers::source::{ImageSource, SourceError, resolve};
use carafe_layers::unpack::{UnpackLimits, unpack_image};
use tar::{EntryType, Header};
use tempfile::tempdir;

use crate::unpack_support::{Memory, Tar, gzip, listing, zstd};
use crate::{assert_refused, described, refused};

#[test]
fn damaged_pax_records_are_refused() {
    for record in
        ["x", "5 a=", "99 path=a\n", "0 path=a\n", "-1 path=a\n", "9 path=ab", "8 path a\n", "10 size=x\n"]
    {
        let layer = Tar::new().extension(EntryType::XHeader, record.as_bytes()).file("a", "");
        assert_refused(&[layer], "PAX record");
    }
    assert_refused(&[Tar::new().file("a", "").pax("path", b"alone")], "does not follow");
}

#[test]
fn what_readers_understand_differently_is_refused() {
    let content = Tar::new().entry(EntryType::Directory, b"a", b"", 0o755, b"hidden header");
    assert_refused(&[content], "content behind a member that has none");
    let sparse = Tar::new().entry(EntryType::GNUSparse, b"a", b"", 0o644, b"");
    assert_refused(&[sparse], "a sparse file");
    assert_refused(&[Tar::new().pax("GNU.sparse.major", b"1").file("a", "")], "a sparse file");
    assert_refused(&[Tar::new().entry(EntryType::new(b'V'), b"a", b"", 0o644, b"")], "unknown type 'V'");
}

/// Whatever its media type says: another reader may have been given the other one.
#[test]
fn a_manifest_that_is_an_index_too_is_refused() {
    let manifests = || serde_json::json!([Descriptor::of(media_type::MANIFEST, b"{}")]);
    for kind in [media_type::MANIFEST, media_type::INDEX] {
        let image = Memory::of(&[Tar::new()]).with_member("manifests", manifests(), kind);
        let error = resolve(&image, &Platform::host()).unwrap_err();
        assert!(error.to_string().contains("is a manifest and an index at once"), "{error}");
    }
    let null =
        Memory::of(&[Tar::new()]).with_member("manifests", serde_json::Value::Null, media_type::MANIFEST);
    null.resolve();
}

#[test]
fn damaged_tars_are_refused() {
    let tar = Tar::new().file("a", &"x".repeat(2000)).unfinished();
    let unpack = |tar: Vec<u8>| {
        let digest = Digest::of(&tar);
        refused(&Memory::stored(vec![(media_type::LAYER_TAR, tar, digest)]))
    };
    let words = unpack(tar[..1000].to_vec());
    assert!(words.contains("at `a`: it ends within a member"), "{words}");
    assert!(unpack(tar[..300].to_vec()).contains("it ends within a header"));
    let mut other = tar.clone();
    other[0] = b'b';
    assert!(unpack(other).contains("no tar header at byte 0"));
    let mut huge = Header::new_gnu();
    huge.as_old_mut().name[0] = b'a';
    huge.set_mode(0o644);
    huge.set_size(u64::MAX);
    assert!(unpack(Tar::new().header(huge).unfinished()).contains("a member of"));
}

#[test]
fn damaged_blobs_are_refused() {
    let tar = Tar::new().file("a", "content").bytes();
    let blob = gzip(&tar);
    let unpack =
        |blob: Vec<u8>| refused(&Memory::stored(vec![(media_type::LAYER_GZIP, blob, Digest::of(&tar))]));
    assert!(unpack(blob[..blob.len() - 9].to_vec()).contains("failed to decompress layer"));
    assert!(unpack([blob.as_slice(), b"garbage"].concat()).contains("failed to decompress layer"));
    assert!(unpack(tar.clone()).contains("failed to decompress layer"));
    let zstd = Memory::stored(vec![(media_type::LAYER_ZSTD, blob, Digest::of(&tar))]);
    assert!(refused(&zstd).contains("failed to decompress layer"));
}

/// What comes is not what the descriptor names: said so, whatever the damage did to the tar.
#[test]
fn tampered_blobs_are_told_by_their_digest() {
    let tampered = |media_type: &'static str, blob: Vec<u8>, change: fn(&mut Vec<u8>)| {
        let tar = Tar::new().file("a", "content").bytes();
        let mut image = Memory::stored(vec![(media_type, blob, Digest::of(&tar))]);
        let layer = image.resolve().manifest.layers[0].digest;
        change(image.blobs.get_mut(&layer).unwrap());
        refused(&image)
    };
    let tar = Tar::new().file("a", "content").bytes();
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 4] = [
        (|blob| blob[30] ^= 1, "failed to verify layer of memory: wanted sha256:"),
        (|blob| blob.truncate(20), "got 20"),
        (|blob| blob.extend_from_slice(b"more"), "failed to verify layer"),
        (Vec::clear, "got 0"),
    ];
    for (change, words) in changes {
        for (media_type, blob) in [(media_type::LAYER_TAR, tar.clone()), (media_type::LAYER_GZIP, gzip(&tar))]
        {
            let got = tampered(media_type, blob, change);
            assert!(got.contains(words), "{got}");
        }
    }
}

/// An image whose layers cannot be read to the end.
struct Unreachable(Memory);

impl ImageSource for Unreachable {
    fn name(&self) -> String {
        self.0.name()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.0.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.0.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let beginning = self.0.blob(descriptor)?.take(20);
        Ok(Box::new(beginning.chain(Reset { told: false })))
    }
}

/// A connection that breaks once, and then looks closed.
struct Reset {
    told: bool,
}

impl Read for Reset {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.told, true) {
            Ok(0)
        } else {
            Err(io::Error::other("no route to host"))
        }
    }
}

#[test]
fn a_broken_connection_is_told_by_its_own_words() {
    let tar = Tar::new().file("a", "content").bytes();
    for (media_type, blob) in [
        (media_type::LAYER_TAR, tar.clone()),
        (media_type::LAYER_GZIP, gzip(&tar)),
        (media_type::LAYER_ZSTD, zstd(&tar)),
    ] {
        let image = Memory::stored(vec![(media_type, blob, Digest::of(&tar))]);
        let (resolved, root) = (image.resolve(), tempdir().unwrap());
        let unreachable = Unreachable(image);
        let limits = UnpackLimits::default();
        let error = unpack_image(&unreachable, &resolved, root.path(), &limits, &|_| ()).unwrap_err();
        let words = described(&error);
        assert!(words.starts_with("failed to read `memory layer sha256:"), "{words}");
        assert!(words.contains("no route to host"), "{words}");
    }
}

#[test]
fn a_wrong_diff_id_is_refused() {
    let tar = Tar::new().file("a", "content").bytes();
    let other = Digest::of(b"another tar");
    let words = refused(&Memory::stored(vec![(media_type::LAYER_TAR, tar, other)]));
    assert!(words.contains(&format!("its tar should have the digest {other}")), "{words}");
}

#[test]
fn bytes_after_the_end_mark_are_hashed_and_not_read() {
    let tar = [Tar::new().file("a", "").bytes(), Tar::new().file("b", "").bytes()].concat();
    let root = tempdir().unwrap();
    let image = Memory::stored(vec![(media_type::LAYER_TAR, tar.clone(), Digest::of(&tar))]);
    image.unpack(root.path()).unwrap();
    assert_eq!(listing(root.path()), "a 644");
    let image = Memory::stored(vec![(media_type::LAYER_TAR, tar.clone(), Digest::of(&tar[..2560]))]);
    assert!(refused(&image).contains("should have the digest"));
}

#[test]
fn only_layers_and_only_empty_roots() {
    let tar = Tar::new().file("a", "").bytes();
    let image = Memory::stored(vec![("application/x-squashfs", tar.clone(), Digest::of(&tar))]);
    assert!(refused(&image).contains("unknown media type `application/x-squashfs`"));

    let image = Memory::of(&[Tar::new().file("a", "")]);
    let root = tempdir().unwrap();
    fs::write(root.path().join("mine"), "kept").unwrap();
    assert!(described(&image.unpack(root.path()).unwrap_err()).contains("not empty"));
    assert_eq!(listing(root.path()), "mine 644 kept");
    assert!(described(&image.unpack(Path::new("/nowhere")).unwrap_err()).contains("`/nowhere`"));
}
