//! One difference planted at a time, and each named by its cause.

mod unpack_support;

use carafe_layers::diff::{Cause, DuplicateBlobs, Extractor, LayerReader, Side, documents, limits, read};
use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackLimits;
use tar::{EntryType, Header};
use unpack_support::{Memory, Tar, gzip, zstd};

/// What is differences of two images: a line for each layer, each entry and each member of a document.
fn differences(want: &Memory, got: &Memory) -> Result<String, String> {
    differences_within(want, got, &limits())
}

fn differences_within(want: &Memory, got: &Memory, limits: &UnpackLimits) -> Result<String, String> {
    let (one, other) = (want.resolve(), got.resolve());
    let (want, got) = (Side { source: want, image: &one }, Side { source: got, image: &other });
    let message = |error: carafe_layers::unpack::UnpackError| error.to_string();
    let pair = read(want, got, limits, &Extractor::NONE, &|_| ()).map_err(message)?;
    let mut lines = Vec::new();
    for layer in pair.layers() {
        let causes: Vec<_> = layer.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        let at = |layer: &Option<carafe_layers::diff::PlacedLayer>| {
            layer.as_ref().map_or("-".to_owned(), |layer| layer.position.to_string())
        };
        lines.push(format!("layer {} {}: {}", at(&layer.want), at(&layer.got), causes.join(", ")));
    }
    for entry in pair.trees().map_err(message)?.entries() {
        let path = String::from_utf8_lossy(entry.path()).into_owned();
        let differences = entry.differences();
        assert_eq!(entry.causes(), differences.iter().map(|one| one.cause).collect::<Vec<_>>());
        lines.extend(
            differences.iter().map(|one| format!("{path}: {} {} | {}", one.cause, one.want, one.got)),
        );
    }
    let documents = documents(&one, &other);
    lines.extend(documents.iter().map(|one| format!("{}{}", one.document, one.pointer)));
    Ok(lines.join("\n"))
}

fn compared(want: &[Tar], got: &[Tar]) -> String {
    differences(&Memory::of(want), &Memory::of(got)).unwrap()
}

fn header(change: impl Fn(&mut Header)) -> Tar {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..1].copy_from_slice(b"a");
    header.set_mode(0o644);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    change(&mut header);
    Tar::new().header(header)
}

#[test]
fn finds_no_difference_between_equal_images() {
    let layers = [Tar::new().dir("d").file("d/a", "1").hard_link("b", "d/a"), Tar::new().file(".wh.b", "")];
    assert_eq!(compared(&layers, &layers), "");
}

#[test]
fn names_each_cause() {
    let plain = || header(|_| ());
    let a = |content: &str| Tar::new().file("a", content);
    for (want, got, expected) in [
        (plain(), header(|header| header.set_mtime(1)), "mtime 2023-11-14T22:13:20Z | 1970-01-01T00:00:01Z"),
        (plain(), header(|header| header.set_mode(0o4755)), "mode 0644 | 4755"),
        (plain(), header(|header| header.set_gid(33)), "owner 1000:1000 | 1000:33"),
        (Tar::new().symlink("a", "x"), Tar::new().symlink("a", "y"), "link-target x | y"),
    ] {
        let cause = expected.split(' ').next().unwrap();
        assert_eq!(compared(&[want], &[got]), format!("layer 0 0: {cause} 1\na: {expected}"));
    }
    let digests = ["1", "22"].map(|content| Digest::of(content.as_bytes()));
    let content =
        format!("layer 0 0: content 1\na: content {} (1 bytes) | {} (2 bytes)", digests[0], digests[1]);
    assert_eq!(compared(&[a("1")], &[a("22")]), content);
    let added = format!("layer 0 0: added 1\nb: added  | file {} (1 bytes)", digests[0]);
    assert_eq!(compared(&[a("")], &[a("").file("b", "1")]), added);
    assert_eq!(compared(&[a("").dir("b")], &[a("")]), "layer 0 0: removed 1\nb: removed directory | ");
    let kind = compared(&[Tar::new().dir("a")], &[header(|header| header.set_mode(0o755))]);
    assert!(kind.contains("a: kind directory | file sha256:"), "{kind}");
    let device = |kind: EntryType, minor: u32| {
        header(|header| {
            header.set_entry_type(kind);
            header.set_device_major(1).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    let null = || device(EntryType::Char, 3);
    for (got, shown) in [(device(EntryType::Char, 5), "c 1:5"), (device(EntryType::Block, 3), "b 1:3")] {
        let expected = format!("layer 0 0: kind 1\na: kind device c 1:3 | device {shown}");
        assert_eq!(compared(&[null()], &[got]), expected);
    }
    let pax = |value: &[u8]| Tar::new().pax("SCHILY.xattr.user.x", value).file("a", "");
    let records = [b"1", b"2"].map(|value| format!("SCHILY.xattr.user.x={}", Digest::of(value)));
    let xattr = format!("layer 0 0: xattr 1\na: xattr {} | {}", records[0], records[1]);
    assert_eq!(compared(&[pax(b"1")], &[pax(b"2")]), xattr);
}

#[test]
fn verifies_a_duplicate_blob_unless_it_is_skipped() {
    let (want, mut got) =
        (Memory::of(&[Tar::new().file("a", "1")]), Memory::of(&[Tar::new().file("a", "1")]));
    let (one, other) = (want.resolve(), got.resolve());
    got.blobs.insert(other.manifest.layers[0].digest, b"damaged".to_vec());
    let read = |duplicates| {
        let mut reader = LayerReader::new(&limits(), &Extractor::NONE);
        reader.read(Side { source: &want, image: &one }, DuplicateBlobs::Verify, &|_| ()).unwrap();
        reader.read(Side { source: &got, image: &other }, duplicates, &|_| ()).map(drop)
    };
    read(DuplicateBlobs::Skip).unwrap();
    assert!(read(DuplicateBlobs::Verify).is_err());
    // What no image before had is read in either case.
    let mut reader = LayerReader::new(&limits(), &Extractor::NONE);
    assert!(reader.read(Side { source: &got, image: &other }, DuplicateBlobs::Skip, &|_| ()).is_err());
}

#[test]
fn names_the_causes_of_layers_with_equal_entries() {
    let (a, b) = (Tar::new().file("a", ""), Tar::new().file("b", ""));
    let order = compared(&[a.clone().raw(&b)], &[b.clone().raw(&a)]);
    assert_eq!(order, "layer 0 0: order 1");
    let named = header(|header| header.set_username("frappe").unwrap());
    assert_eq!(compared(&[header(|_| ())], &[named]), "layer 0 0: framing 1");
    assert_eq!(compared(&[a.clone(), b.clone()], &[b.clone(), a.clone()]), "layer 1 0: order 1");
    assert_eq!(
        compared(&[a.clone().raw(&b)], &[a.clone(), b.clone()]),
        "layer 0 0: removed 1\nlayer - 1: added 1"
    );
    let longer = [a.clone(), b];
    assert_eq!(compared(&[a], &longer).lines().next(), Some("layer - 1: added 1"));
}

#[test]
fn names_compression_if_only_it_differs() {
    let tar = Tar::new().file("a", "1").bytes();
    let diff_id = Digest::of(&tar);
    let stored = |kind: &'static str, blob: Vec<u8>| Memory::stored(vec![(kind, blob, diff_id)]);
    let gzipped = stored(media_type::LAYER_GZIP, gzip(&tar));
    let expected = "layer 0 0: compression 1\nmanifest/layers/0/mediaType";
    assert_eq!(differences(&gzipped, &stored(media_type::LAYER_ZSTD, zstd(&tar))).unwrap(), expected);
    assert_eq!(differences(&stored(media_type::LAYER_TAR, tar.clone()), &gzipped).unwrap(), expected);
    // Another compressor: here two gzip members instead of one.
    let twice = [gzip(&tar[..700]), gzip(&tar[700..])].concat();
    assert_eq!(
        differences(&gzipped, &stored(media_type::LAYER_GZIP, twice)).unwrap(),
        "layer 0 0: compression 1"
    );
}

#[test]
fn compares_merged_trees() {
    let lower = Tar::new().dir("d").file("d/a", "old").file("d/b", "").file("e", "");
    let whiteouts = Tar::new().file("d/.wh.b", "").file(".wh.e", "").file("d/a", "new");
    let flat = Tar::new().dir("d").file("d/a", "new");
    let layers = compared(&[lower.clone(), whiteouts], std::slice::from_ref(&flat));
    assert!(layers.lines().all(|line| line.starts_with("layer ")), "{layers}");
    let opaque = Tar::new().file("d/a", "new").file("d/.wh..wh..opq", "").file(".wh.e", "");
    let layers = compared(&[lower.clone(), opaque], std::slice::from_ref(&flat));
    assert!(layers.lines().all(|line| line.starts_with("layer ")), "{layers}");
    // A file in place of a directory, and a directory in place of a file.
    let upper = Tar::new().file("d", "").dir("e").file("e/f", "");
    let layers = compared(&[lower, upper], &[Tar::new().file("d", "").dir("e").file("e/f", "")]);
    assert!(layers.lines().all(|line| line.starts_with("layer ")), "{layers}");
}

#[test]
fn resolves_links_in_paths() {
    let lower =
        || Tar::new().dir("usr").dir("usr/lib").symlink("lib", "usr/lib").symlink("up", "/lib/../lib");
    let flat = [lower().file("usr/lib/x", "1").file("usr/lib/y", "1")];
    let upper = Tar::new().file("lib/x", "1").file("up/old", "").hard_link("up/y", "lib/x");
    let layered = [lower().file("usr/lib/old", ""), upper, Tar::new().file("lib/.wh.old", "")];
    let differences = compared(&layered, &flat);
    let entries: Vec<_> = differences.lines().filter(|line| !line.starts_with("layer ")).collect();
    assert_eq!(entries, ["usr/lib/y: kind hard link to lib/x | ".to_owned() + &file_of("1")]);
    let circle = Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    let message = differences_within(&Memory::of(&[circle]), &Memory::of(&[]), &limits()).unwrap_err();
    assert!(message.contains("too many links"), "{message}");
}

fn file_of(content: &str) -> String {
    format!("file {} ({} bytes)", Digest::of(content.as_bytes()), content.len())
}

#[test]
fn a_hard_link_keeps_its_content_if_its_target_is_replaced() {
    let layers = |old: &str| [Tar::new().file("a", old).hard_link("b", "a"), Tar::new().file("a", "new")];
    let differences = compared(&layers("1"), &layers("2"));
    assert!(differences.contains("\nb: content "), "{differences}");
    assert!(!differences.contains("\na: "), "{differences}");
}

#[test]
fn rejects_false_and_damaged_images() {
    let tar = Tar::new().file("a", "1").bytes();
    let valid = || Memory::stored(vec![(media_type::LAYER_GZIP, gzip(&tar), Digest::of(&tar))]);
    let change = |change: fn(&mut Vec<u8>)| {
        let mut image = valid();
        let layer = image.resolve().manifest.layers[0].digest;
        change(image.blobs.get_mut(&layer).unwrap());
        image
    };
    let lying = Memory::stored(vec![(media_type::LAYER_GZIP, gzip(&tar), Digest::of(b"another"))]);
    let cut = Memory::stored(vec![(media_type::LAYER_TAR, tar[..600].to_vec(), Digest::of(&tar[..600]))]);
    let unknown = Memory::stored(vec![("application/x-what", tar.clone(), Digest::of(&tar))]);
    let dangling = Memory::of(&[Tar::new().hard_link("a", "nothing")]);
    let outside = Memory::of(&[Tar::new().file("../a", "")]);
    let odd = Memory::of(&[Tar::new().entry(EntryType::GNUSparse, b"a", b"", 0o644, b"")]);
    for (image, reason) in [
        (change(|blob| blob.truncate(20)), "expected"),
        (change(|blob| blob.push(0)), "expected"),
        (change(|blob| blob[12] ^= 1), "expected"),
        (lying, "expected the diff id"),
        (cut, "the archive ends within"),
        (unknown, "unsupported media type"),
        (dangling, "the target of the hard link does not exist"),
        (outside, "the path contains `..`"),
        (odd, "sparse"),
    ] {
        for (want, got) in [(&valid(), &image), (&image, &valid()), (&image, &image)] {
            let message = differences(want, got).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }
}

#[test]
fn two_images_share_their_limits() {
    let image = |content: &str| Memory::of(&[Tar::new().file("a", content).file("b", "")]);
    let three = UnpackLimits { entries: 3, ..limits() };
    let message = differences_within(&image("1"), &image("2"), &three).unwrap_err();
    assert!(message.contains("the limit of 3 entries is exceeded"), "{message}");
    // What both have is listed once.
    assert_eq!(differences_within(&image("1"), &image("1"), &three).unwrap(), "");
    let few = UnpackLimits { all_path_bytes: 3, ..limits() };
    assert!(differences_within(&image("1"), &image("2"), &few).unwrap_err().contains("bytes of all paths"));
    let keys: Vec<Tar> =
        (0..40).map(|at| Tar::new().pax(&format!("{at}{}", "k".repeat(40_000)), b"")).collect();
    let many = keys.iter().fold(Tar::new(), |tar, key| tar.raw(key)).file("a", "");
    let message = differences(&Memory::of(std::slice::from_ref(&many)), &Memory::of(&[many])).unwrap_err();
    assert!(message.contains("PAX records exceed the limit"), "{message}");
}

#[test]
fn names_the_header_of_compiled_python_with_equal_code() {
    let pyc = |header: &str, code: &str| {
        let file = format!("abcd\0\0\0\0{header}\0\0\0\0\0\0\0{code}");
        [Tar::new().file("a.pyc", &file).hard_link("b", "a.pyc")]
    };
    let of = |mtime: u8| format!("magic 64636261, source of 0 bytes with mtime {mtime}");
    let differs = format!("pyc-header {} | {}", of(49), of(50));
    let expected = format!("layer 0 0: pyc-header 1\na.pyc: {differs}\nb: {differs}");
    assert_eq!(compared(&pyc("1", "code"), &pyc("2", "code")), expected);
    assert!(compared(&pyc("1", "code"), &pyc("2", "edoc")).contains("a.pyc: content"));
    let short = |content: &str| [Tar::new().file("a.pyc", content)];
    assert!(compared(&short("1"), &short("2")).contains("a.pyc: content"));
}

#[test]
fn a_cause_has_the_same_words_in_text_and_in_json() {
    for cause in [Cause::LinkTarget, Cause::PycHeader] {
        let json = serde_json::to_string(&cause).unwrap();
        assert_eq!(json, format!("\"{cause}\"").replace('-', "_"));
    }
}
