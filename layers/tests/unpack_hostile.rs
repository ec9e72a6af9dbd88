//! Layers that want out of the root, or more than their share: each refused, by name.

mod unpack_support;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::{ImageSource, SourceError};
use carafe_layers::unpack::{UnpackError, UnpackLimits, unpack_image};
use tar::{EntryType, Header};
use tempfile::{TempDir, tempdir};
use unpack_support::{Memory, Tar, gzip, listing, zstd};

/// A folder with a file beside the root, which nothing may touch.
struct Jail {
    around: TempDir,
}

impl Jail {
    fn new() -> Self {
        let around = tempdir().unwrap();
        fs::create_dir(around.path().join("root")).unwrap();
        fs::write(around.path().join("secret"), "untouched").unwrap();
        Self { around }
    }

    fn root(&self) -> PathBuf {
        self.around.path().join("root")
    }

    fn outside(&self) -> String {
        self.around.path().to_str().unwrap().to_owned()
    }

    fn assert_intact(&self) {
        let names = fs::read_dir(self.around.path()).unwrap().count();
        assert_eq!(names, 2, "something appeared beside the root");
        assert_eq!(fs::read_to_string(self.around.path().join("secret")).unwrap(), "untouched");
    }
}

/// Unpacks, expects a refusal, and gives its words.
fn refused(image: &Memory) -> String {
    refused_within(image, &UnpackLimits::default())
}

fn refused_within(image: &Memory, limits: &UnpackLimits) -> String {
    let jail = Jail::new();
    let error = image.unpack_within(&jail.root(), limits).unwrap_err();
    jail.assert_intact();
    described(&error)
}

fn described(error: &UnpackError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        words += &format!(": {source}");
        cause = source.source();
    }
    words
}

fn assert_refused(layers: &[Tar], reason: &str) {
    let image = Memory::of(layers);
    let words = refused(&image);
    assert!(words.contains(reason), "{words}");
    let layer = image.resolve().manifest.layers.last().unwrap().digest.to_string();
    assert!(words.contains(&layer), "{words}");
}

#[test]
fn dots_in_names_are_refused() {
    for name in ["../secret", "a/../../secret", "..", "a/.."] {
        assert_refused(&[Tar::new().file(name, "evil")], "a path with `..`");
    }
    assert_refused(&[Tar::new().file("a", "").hard_link("b", "../secret")], "a path with `..`");
}

#[test]
fn absolute_names_begin_at_the_root() {
    let jail = Jail::new();
    let secret = format!("{}/secret", jail.outside());
    Memory::of(&[Tar::new().file(&secret, "evil")]).unpack(&jail.root()).unwrap();
    jail.assert_intact();
    assert_eq!(fs::read_to_string(jail.root().join(secret.trim_start_matches('/'))).unwrap(), "evil");
}

#[test]
fn links_do_not_lead_out() {
    let jail = Jail::new();
    let (outside, above) = (jail.outside(), "../".repeat(40));
    let layer = Tar::new()
        .symlink("absolute", &outside)
        .file("absolute/secret", "evil")
        .symlink("above", &format!("{above}{outside}"))
        .file("above/secret", "evil")
        .symlink("file", &format!("{outside}/secret"))
        .file("file", "evil")
        .symlink("folder", &outside)
        .dir("folder/secret")
        .symlink("magic", "/proc/self/root")
        .file(&format!("magic{outside}/secret"), "evil");
    let upper = Tar::new()
        .file("absolute/.wh.secret", "")
        .file("above/.wh..wh..opq", "")
        .hard_link("linked", "magic/etc/passwd");
    let result = Memory::of(&[layer, upper]).unpack(&jail.root());
    jail.assert_intact();
    assert!(described(&result.unwrap_err()).contains("linked"));
}

#[test]
fn hard_links_stay_inside() {
    let jail = Jail::new();
    let secret = format!("{}/secret", jail.outside());
    let missing = Memory::of(&[Tar::new().hard_link("link", &secret)]).unpack(&jail.root());
    assert!(described(&missing.unwrap_err()).contains("could not create the hard link"));

    let jail = Jail::new();
    let layer = Tar::new().symlink("out", &jail.outside()).hard_link("link", "out/secret");
    Memory::of(&[layer]).unpack(&jail.root()).unwrap_err();
    jail.assert_intact();
    assert_refused(&[Tar::new().dir("folder").hard_link("link", "folder")], "create the hard link");
    assert_refused(&[Tar::new().hard_link("link", "/")], "a hard link to the root");
    assert_refused(&[Tar::new().hard_link("link", "")], "a path that is empty");
}

#[test]
fn links_in_a_circle_are_refused() {
    let circle = Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert_refused(&[circle], "could not open its folder");
}

#[test]
fn links_may_not_build_paths_without_end() {
    let deep = vec!["d"; 200].join("/");
    let layer = Tar::new().dir(&deep).symlink("s", &deep).file(&format!("s/{deep}/x"), "");
    assert_refused(&[layer], "could not open its folder");
}

#[test]
fn odd_whiteouts_are_refused() {
    let lower = || Tar::new().file("a", "");
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        assert_refused(&[lower(), Tar::new().file(name, "")], "a whiteout of no name");
    }
    assert_refused(&[lower(), Tar::new().file(".wh.x/inside", "")], "something inside a whiteout");
    assert_refused(&[lower(), Tar::new().file(".wh../../secret", "")], "a path with `..`");
    assert_refused(&[lower(), Tar::new().file("../.wh.secret", "")], "a path with `..`");
}

#[test]
fn a_whiteout_of_a_link_removes_the_link() {
    let jail = Jail::new();
    let lower = Tar::new().symlink("link", &jail.outside()).symlink("opaque", &jail.outside());
    let upper = Tar::new().file(".wh.link", "").file("opaque/.wh..wh..opq", "");
    Memory::of(&[lower, upper]).unpack(&jail.root()).unwrap();
    jail.assert_intact();
    assert!(jail.root().join("link").symlink_metadata().is_err());
}

#[test]
fn a_file_where_a_folder_is_needed_is_refused() {
    assert_refused(&[Tar::new().file("a", "").file("a/b", "")], "could not open its folder");
}

#[test]
fn names_of_nothing_are_refused() {
    let named = |name: &[u8]| Tar::new().entry(EntryType::Regular, name, b"", 0o644, b"");
    assert_refused(&[named(b"")], "a path that is empty or holds NUL");
    assert_refused(&[Tar::new().pax("path", b"a\0b").file("x", "")], "a path that is empty or holds NUL");
    assert_refused(&[Tar::new().symlink("/", "x")], "the root is no folder");
    assert_refused(&[Tar::new().symlink("link", "")], "a symbolic link to no path");
    assert_refused(&[Tar::new().pax("linkpath", b"a\0b").symlink("link", "x")], "a symbolic link to no path");
}

#[test]
fn too_deep_and_too_long_is_refused() {
    assert_refused(&[Tar::new().file(&vec!["d"; 256].join("/"), "")], "over the limit of 255");
    assert_refused(&[Tar::new().file(&"d/".repeat(2100), "")], "bytes in one path over the limit of 4095");
    assert_refused(&[Tar::new().file(&"d".repeat(256), "")], "could not create the file");
}

#[test]
fn limits_are_kept() {
    let layer = Tar::new().file("a", "12345").file("folder/b", "67890");
    let image = Memory::of(&[layer]);
    let limit = |limits: UnpackLimits| refused_within(&image, &limits);
    let all = UnpackLimits::default();
    let words = limit(UnpackLimits { file_bytes: 4, ..all.clone() });
    assert!(words.contains("at `a`: bytes in one file over the limit of 4"), "{words}");
    let words = limit(UnpackLimits { entries: 1, ..all.clone() });
    assert!(words.contains("at `folder/b`: entries over the limit of 1"), "{words}");
    // The folder that had to be made counts.
    let words = limit(UnpackLimits { entries: 2, ..all.clone() });
    assert!(words.contains("entries over the limit of 2"), "{words}");
    let words = limit(UnpackLimits { bytes: 1000, ..all.clone() });
    assert!(words.contains("unpacked bytes over the limit of 1000"), "{words}");
    let words = limit(UnpackLimits { all_path_bytes: 8, ..all.clone() });
    assert!(words.contains("bytes of all paths over the limit of 8"), "{words}");
    let words = limit(UnpackLimits { layers: 0, ..all });
    assert!(words.contains("layers"), "{words}");
}

#[test]
fn bytes_are_counted_over_all_layers() {
    let image = Memory::of(&[Tar::new().file("a", ""), Tar::new().file("b", "")]);
    let words = refused_within(&image, &UnpackLimits { bytes: 1536 * 2 - 1, ..UnpackLimits::default() });
    assert!(words.contains("unpacked bytes"), "{words}");
}

#[test]
fn a_bomb_is_refused() {
    let tar = Tar::new().file("zeros", &"\0".repeat(4 << 20)).bytes();
    let diff_id = Digest::of(&tar);
    let image = Memory::stored(vec![(media_type::LAYER_GZIP, gzip(&tar), diff_id)]);
    let limits = UnpackLimits { ratio_floor: 1 << 20, ..UnpackLimits::default() };
    let words = refused_within(&image, &limits);
    assert!(words.contains("at `zeros`: compression ratio over the limit of 200"), "{words}");
}

#[test]
fn extensions_without_end_are_refused() {
    let name = vec![b'n'; 2 << 20];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let layer = Tar::new().extension(kind, &name).file("a", "");
        assert_refused(&[layer], "2097152 bytes are over the limit of 1048576");
    }
}

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

#[test]
fn hostile_names_are_shown_escaped_and_short() {
    let name = format!("\x1b[31m{}", "x".repeat(3000));
    let words = refused(&Memory::of(&[Tar::new().entry(EntryType::GNUSparse, name.as_bytes(), b"", 0, b"")]));
    assert!(!words.contains('\x1b') && words.len() < 600, "{words}");
}
