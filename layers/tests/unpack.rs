//! Valid layers: the tree that the OCI image-spec defines.

mod unpack_support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackStats;
use tar::{EntryType, Header};
use tempfile::{TempDir, tempdir};
use unpack_support::{Memory, Tar, gzip, listing, zstd};

fn unpacked(layers: &[Tar]) -> (TempDir, UnpackStats) {
    let root = tempdir().unwrap();
    let unpacked = Memory::of(layers).unpack(root.path()).unwrap();
    (root, unpacked)
}

fn tree(layers: &[Tar]) -> String {
    listing(unpacked(layers).0.path())
}

#[test]
fn unpacks_files_directories_and_links() {
    let layer = Tar::new()
        .dir("./")
        .dir("./bin/")
        .entry(EntryType::Regular, b"./bin/run", b"", 0o755, b"go")
        .symlink("./sbin", "bin")
        .hard_link("./bin/go", "./bin/run")
        .file("implied/deep/file", "x");
    insta::assert_snapshot!(tree(&[layer]), @r"
    bin/ 755
    bin/go 755 go
    bin/run 755 go
    implied/ 755
    implied/deep/ 755
    implied/deep/file 644 x
    sbin -> bin
    ");
}

#[test]
fn unpacks_the_same_tree_from_every_compression() {
    let tar = Tar::new().file("a", "content").bytes();
    let diff_id = Digest::of(&tar);
    let half = tar.len() / 2;
    let members = [gzip(&tar[..half]), gzip(&tar[half..])].concat();
    let stored = [
        (media_type::LAYER_TAR, tar.clone()),
        (media_type::LAYER_GZIP, gzip(&tar)),
        (media_type::DOCKER_LAYER_GZIP, members),
        (media_type::LAYER_ZSTD, zstd(&tar)),
    ];
    for (media_type, blob) in stored {
        let root = tempdir().unwrap();
        Memory::stored(vec![(media_type, blob, diff_id)]).unpack(root.path()).unwrap();
        assert_eq!(listing(root.path()), "a 644 content", "{media_type}");
    }
}

#[test]
fn keeps_modes_without_set_ids_and_with_access_for_the_owner() {
    let layer = Tar::new()
        .entry(EntryType::Regular, b"su", b"", 0o4755, b"")
        .entry(EntryType::Regular, b"shadow", b"", 0o000, b"")
        .entry(EntryType::Directory, b"tmp", b"", 0o1777, b"")
        .entry(EntryType::Directory, b"mail", b"", 0o2775, b"")
        .entry(EntryType::Directory, b"closed", b"", 0o000, b"")
        .file("closed/inside", "");
    let (root, unpacked) = unpacked(&[layer]);
    insta::assert_snapshot!(listing(root.path()), @r"
    closed/ 700
    closed/inside 644
    mail/ 775
    shadow 600
    su 755
    tmp/ 1777
    ");
    assert_eq!(unpacked.set_ids_dropped, 2);
}

#[test]
fn keeps_mtimes_also_of_directories_and_links() {
    let at = |layer: Tar, kind, name: &str, mtime: &str| {
        layer.pax("mtime", mtime.as_bytes()).entry(kind, name.as_bytes(), b"to", 0o755, b"")
    };
    let layer = at(Tar::new(), EntryType::Directory, "directory", "1000.75");
    let layer = at(layer, EntryType::Regular, "directory/file", "2000");
    let layer = at(layer, EntryType::Symlink, "directory/link", "3000");
    let layer = at(layer, EntryType::Regular, "directory/old", "-5");
    let layer = at(layer, EntryType::Regular, "directory/new", "99999999999999");
    let (root, _) = unpacked(&[layer.file("implied/x", "")]);
    let mtime = |name: &str| root.path().join(name).symlink_metadata().unwrap().mtime();
    let names =
        ["directory", "directory/file", "directory/link", "directory/old", "directory/new", "implied", ""];
    assert_eq!(names.map(mtime), [1000, 2000, 3000, 0, i64::from(u32::MAX), 0, 0]);
}

#[test]
fn skips_and_counts_devices_and_pipes() {
    let layer = Tar::new()
        .entry(EntryType::Char, b"dev/null", b"", 0o666, b"")
        .entry(EntryType::Fifo, b"run/pipe", b"", 0o666, b"")
        .hard_link("dev/zero", "dev/null")
        .pax("SCHILY.xattr.security.capability", b"\x01\n\n=\n")
        .file("ping", "");
    let (root, unpacked) = unpacked(&[Tar::new().file("run/pipe", "lower"), layer]);
    insta::assert_snapshot!(listing(root.path()), @r"
    dev/ 755
    ping 644
    run/ 755
    ");
    assert_eq!((unpacked.skipped, unpacked.xattrs_dropped), (3, 1));
}

#[test]
fn an_upper_layer_replaces_files_and_merges_directories() {
    let lower = Tar::new()
        .file("file", "old")
        .file("directory-to-file/inside", "")
        .dir("file-to-directory")
        .file("file-to-directory-2", "")
        .file("merged/lower", "")
        .symlink("link", "merged");
    let upper = Tar::new()
        .file("file", "new")
        .file("directory-to-file", "now a file")
        .dir("file-to-directory-2")
        .entry(EntryType::Directory, b"merged", b"", 0o700, b"")
        .file("merged/upper", "")
        .file("link", "now a file");
    insta::assert_snapshot!(tree(&[lower, upper]), @r"
    directory-to-file 644 now a file
    file 644 new
    file-to-directory-2/ 755
    file-to-directory/ 755
    link 644 now a file
    merged/ 700
    merged/lower 644
    merged/upper 644
    ");
}

#[test]
fn replacing_one_name_of_a_file_keeps_the_other() {
    let lower = Tar::new().file("a", "old").hard_link("b", "a").hard_link("a", "a");
    assert_eq!(tree(&[lower, Tar::new().file("a", "new")]), "a 644 new\nb 644 old");
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_the_link() {
    let layer = Tar::new().symlink("link", "/etc/passwd").hard_link("other", "link");
    assert_eq!(tree(&[layer]), "link -> /etc/passwd\nother -> /etc/passwd");
}

#[test]
fn whiteouts_hide_lower_layers() {
    let lower = Tar::new().file("a", "").file("b/c", "").file("b/d", "").file("e", "");
    let upper = Tar::new().file(".wh.a", "").file("b/.wh.c", "").file(".wh.none", "").file("x/.wh.y", "");
    let (root, unpacked) = unpacked(&[lower, upper]);
    assert_eq!(listing(root.path()), "b/ 755\nb/d 644\ne 644");
    assert_eq!(unpacked.whiteouts, 4);
}

#[test]
fn whiteouts_do_not_hide_entries_of_their_own_layer() {
    let lower = Tar::new().file("d/lower", "").file("d/sub/lower", "").file("plain/lower", "");
    let opaque = Tar::new().file("d/.wh..wh..opq", "").file(".wh.plain", "");
    let own = Tar::new().file("d/own", "").file("d/sub/own", "").file("plain/own", "");
    let join = |first: &Tar, second: &Tar| Tar::new().raw(first).raw(second);
    let expected = "d/ 755\nd/own 644\nd/sub/ 755\nd/sub/own 644\nplain/ 755\nplain/own 644";
    assert_eq!(tree(&[lower.clone(), join(&opaque, &own)]), expected);
    assert_eq!(tree(&[lower, join(&own, &opaque)]), expected);
}

#[test]
fn whiteouts_detect_an_entry_under_its_other_path() {
    let lower = Tar::new().symlink("var-run", "/run").file("run/lower", "");
    let upper = Tar::new().file("var-run/own", "").file("run/.wh..wh..opq", "");
    assert_eq!(tree(&[lower, upper]), "run/ 755\nrun/own 644\nvar-run -> /run");
}

#[test]
fn ignores_metadata_of_aufs() {
    let layer = Tar::new().dir(".wh..wh.plnk").file(".wh..wh.plnk/7.1", "").file(".wh..wh.aufs", "");
    assert_eq!(tree(&[Tar::new().file("a", ""), layer]), "a 644");
}

#[test]
fn follows_links_of_lower_layers_within_the_root() {
    let lower = Tar::new()
        .dir("run")
        .symlink("absolute", "/run")
        .symlink("relative", "run")
        .symlink("above", "../../../run")
        .symlink("chain", "absolute/../above")
        .symlink("dangling", "not/yet");
    let upper = Tar::new()
        .file("absolute/a", "")
        .file("relative/b", "")
        .file("above/c", "")
        .file("chain/d", "")
        .file("dangling/e", "")
        .file("/run/f", "");
    let tree = tree(&[lower, upper]);
    for name in ["run/a", "run/b", "run/c", "run/d", "not/yet/e", "run/f"] {
        assert!(tree.contains(&format!("{name} 644")), "{name}\n{tree}");
    }
}

#[test]
fn reads_long_names_of_gnu_and_pax() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let gnu = Tar::new().file(&long, "gnu").symlink("link", &long);
    let pax = Tar::new().pax("path", b"by pax").file("short", "pax");
    let (root, _) = unpacked(&[gnu, pax]);
    assert_eq!(fs::read_to_string(root.path().join(&long)).unwrap(), "gnu");
    assert_eq!(fs::read_link(root.path().join("link")).unwrap().to_str().unwrap(), long);
    assert_eq!(fs::read_to_string(root.path().join("by pax")).unwrap(), "pax");
}

#[test]
fn keeps_names_that_are_not_utf8() {
    let (root, _) = unpacked(&[Tar::new().entry(EntryType::Regular, b"caf\xe9", b"", 0o644, b"")]);
    let name = fs::read_dir(root.path()).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(name.as_encoded_bytes(), b"caf\xe9");
}

#[test]
fn unpacks_deep_paths() {
    let deep = vec!["d"; 200].join("/");
    let (root, unpacked) = unpacked(&[Tar::new().file(&deep, "deep")]);
    assert_eq!(fs::read_to_string(root.path().join(deep)).unwrap(), "deep");
    assert_eq!(unpacked.entries, 200);
}

#[test]
fn a_file_name_with_a_trailing_slash_is_a_directory() {
    assert_eq!(tree(&[Tar::new().file("old/", "")]), "old/ 744");
}

#[test]
fn skips_comments_of_the_archive() {
    let comment = Tar::new().extension(EntryType::XGlobalHeader, b"19 comment=abcdefg\n");
    assert_eq!(tree(&[comment.file("a", "")]), "a 644");
}

#[test]
fn progress_ends_at_the_total_size_of_the_blobs() {
    let image = Memory::of(&[Tar::new().file("a", "1"), Tar::new().file("b", "2")]);
    let root = tempdir().unwrap();
    let last = std::cell::Cell::new(0);
    let (resolved, limits) = (image.resolve(), carafe_layers::unpack::UnpackLimits::default());
    let unpacked =
        carafe_layers::unpack::unpack_image(&image, &resolved, root.path(), &limits, &|done| last.set(done));
    assert_eq!(last.get(), resolved.manifest.layers.iter().map(|layer| layer.size).sum::<u64>());
    assert_eq!(unpacked.unwrap().bytes, 2);
}

#[test]
fn the_size_in_pax_overrides_that_in_the_header() {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[0] = b'a';
    header.set_mode(0o644);
    header.set_size(0);
    let layer = Tar::new().pax("size", b"3").header(header).content(b"abc").file("b", "");
    assert_eq!(tree(&[layer]), "a 644 abc\nb 644");
}
