//! Damaged, modified and false layers and images.

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
use crate::{assert_rejected, described, rejected};

#[test]
fn rejects_damaged_pax_records() {
    for record in
        ["x", "5 a=", "99 path=a\n", "0 path=a\n", "-1 path=a\n", "9 path=ab", "8 path a\n", "10 size=x\n"]
    {
        let layer = Tar::new().extension(EntryType::XHeader, record.as_bytes()).file("a", "");
        assert_rejected(&[layer], "PAX record");
    }
    assert_rejected(&[Tar::new().file("a", "").pax("path", b"alone")], "without its member");
}

#[test]
fn rejects_what_readers_interpret_differently() {
    let content = Tar::new().entry(EntryType::Directory, b"a", b"", 0o755, b"hidden header");
    assert_rejected(&[content], "a member whose type has no content has content");
    let sparse = Tar::new().entry(EntryType::GNUSparse, b"a", b"", 0o644, b"");
    assert_rejected(&[sparse], "sparse files are not supported");
    assert_rejected(
        &[Tar::new().pax("GNU.sparse.major", b"1").file("a", "")],
        "sparse files are not supported",
    );
    assert_rejected(&[Tar::new().entry(EntryType::new(b'V'), b"a", b"", 0o644, b"")], "unknown type 'V'");
}

/// Independent of its media type: another reader may receive the other one.
#[test]
fn rejects_a_manifest_that_is_also_an_index() {
    let manifests = || serde_json::json!([Descriptor::of(media_type::MANIFEST, b"{}")]);
    for kind in [media_type::MANIFEST, media_type::INDEX] {
        let image = Memory::of(&[Tar::new()]).with_member("manifests", manifests(), kind);
        let error = resolve(&image, &Platform::host()).unwrap_err();
        assert!(error.to_string().contains("is both a manifest and an index"), "{error}");
    }
    let null =
        Memory::of(&[Tar::new()]).with_member("manifests", serde_json::Value::Null, media_type::MANIFEST);
    null.resolve();
}

#[test]
fn rejects_damaged_tars() {
    let tar = Tar::new().file("a", &"x".repeat(2000)).unfinished();
    let unpack = |tar: Vec<u8>| {
        let digest = Digest::of(&tar);
        rejected(&Memory::stored(vec![(media_type::LAYER_TAR, tar, digest)]))
    };
    let message = unpack(tar[..1000].to_vec());
    assert!(message.contains("at `a`: the archive ends within a member"), "{message}");
    assert!(unpack(tar[..300].to_vec()).contains("the archive ends within a header"));
    let mut other = tar.clone();
    other[0] = b'b';
    assert!(unpack(other).contains("byte 0 is not a tar header"));
    let mut huge = Header::new_gnu();
    huge.as_old_mut().name[0] = b'a';
    huge.set_mode(0o644);
    huge.set_size(u64::MAX);
    assert!(unpack(Tar::new().header(huge).unfinished()).contains("a member has"));
}

#[test]
fn rejects_damaged_blobs() {
    let tar = Tar::new().file("a", "content").bytes();
    let blob = gzip(&tar);
    let unpack =
        |blob: Vec<u8>| rejected(&Memory::stored(vec![(media_type::LAYER_GZIP, blob, Digest::of(&tar))]));
    assert!(unpack(blob[..blob.len() - 9].to_vec()).contains("failed to decompress layer"));
    assert!(unpack([blob.as_slice(), b"garbage"].concat()).contains("failed to decompress layer"));
    assert!(unpack(tar.clone()).contains("failed to decompress layer"));
    let zstd = Memory::stored(vec![(media_type::LAYER_ZSTD, blob, Digest::of(&tar))]);
    assert!(rejected(&zstd).contains("failed to decompress layer"));
}

/// The error names the digest of the blob, independent of the effect on the tar.
#[test]
fn a_modified_blob_is_reported_by_its_digest() {
    let modified = |media_type: &'static str, blob: Vec<u8>, change: fn(&mut Vec<u8>)| {
        let tar = Tar::new().file("a", "content").bytes();
        let mut image = Memory::stored(vec![(media_type, blob, Digest::of(&tar))]);
        let layer = image.resolve().manifest.layers[0].digest;
        change(image.blobs.get_mut(&layer).unwrap());
        rejected(&image)
    };
    let tar = Tar::new().file("a", "content").bytes();
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 4] = [
        (|blob| blob[30] ^= 1, "failed to verify layer of memory: expected sha256:"),
        (|blob| blob.truncate(20), "got 20"),
        (|blob| blob.extend_from_slice(b"more"), "failed to verify layer"),
        (Vec::clear, "got 0"),
    ];
    for (change, message) in changes {
        for (media_type, blob) in [(media_type::LAYER_TAR, tar.clone()), (media_type::LAYER_GZIP, gzip(&tar))]
        {
            let got = modified(media_type, blob, change);
            assert!(got.contains(message), "{got}");
        }
    }
}

/// An image with layers that cannot be read completely.
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
        Ok(Box::new(beginning.chain(Reset { has_failed: false })))
    }
}

/// A connection that fails once and then reports its end.
struct Reset {
    has_failed: bool,
}

impl Read for Reset {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.has_failed, true) {
            Ok(0)
        } else {
            Err(io::Error::other("no route to host"))
        }
    }
}

#[test]
fn reports_the_error_of_a_broken_connection() {
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
        let message = described(&error);
        assert!(message.starts_with("failed to read `memory layer sha256:"), "{message}");
        assert!(message.contains("no route to host"), "{message}");
    }
}

#[test]
fn rejects_a_wrong_diff_id() {
    let tar = Tar::new().file("a", "content").bytes();
    let other = Digest::of(b"another tar");
    let message = rejected(&Memory::stored(vec![(media_type::LAYER_TAR, tar, other)]));
    assert!(message.contains(&format!("expected the diff id {other}")), "{message}");
}

#[test]
fn bytes_after_the_end_mark_are_hashed_but_not_unpacked() {
    let tar = [Tar::new().file("a", "").bytes(), Tar::new().file("b", "").bytes()].concat();
    let root = tempdir().unwrap();
    let image = Memory::stored(vec![(media_type::LAYER_TAR, tar.clone(), Digest::of(&tar))]);
    image.unpack(root.path()).unwrap();
    assert_eq!(listing(root.path()), "a 644");
    let image = Memory::stored(vec![(media_type::LAYER_TAR, tar.clone(), Digest::of(&tar[..2560]))]);
    assert!(rejected(&image).contains("expected the diff id"));
}

#[test]
fn rejects_unsupported_media_types_and_roots_with_content() {
    let tar = Tar::new().file("a", "").bytes();
    let image = Memory::stored(vec![("application/x-squashfs", tar.clone(), Digest::of(&tar))]);
    assert!(rejected(&image).contains("unsupported media type `application/x-squashfs`"));

    let image = Memory::of(&[Tar::new().file("a", "")]);
    let root = tempdir().unwrap();
    fs::write(root.path().join("mine"), "kept").unwrap();
    assert!(described(&image.unpack(root.path()).unwrap_err()).contains("not empty"));
    assert_eq!(listing(root.path()), "mine 644 kept");
    assert!(described(&image.unpack(Path::new("/nowhere")).unwrap_err()).contains("`/nowhere`"));
}
