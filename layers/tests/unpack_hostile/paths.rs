//! Invalid names, links and whiteouts, and those that lead out of the root.

use std::fs;

use tar::EntryType;

use crate::unpack_support::{Memory, Tar};
use crate::{Jail, assert_rejected, described, rejected};

#[test]
fn rejects_parent_directories_in_names() {
    for name in ["../secret", "a/../../secret", "..", "a/.."] {
        assert_rejected(&[Tar::new().file(name, "evil")], "the path contains `..`");
    }
    assert_rejected(&[Tar::new().file("a", "").hard_link("b", "../secret")], "the path contains `..`");
}

#[test]
fn absolute_names_start_at_the_root() {
    let jail = Jail::new();
    let secret = format!("{}/secret", jail.outside());
    Memory::of(&[Tar::new().file(&secret, "evil")]).unpack(&jail.root()).unwrap();
    jail.assert_intact();
    assert_eq!(fs::read_to_string(jail.root().join(secret.trim_start_matches('/'))).unwrap(), "evil");
}

#[test]
fn links_do_not_lead_out_of_the_root() {
    let jail = Jail::new();
    let (outside, above) = (jail.outside(), "../".repeat(40));
    let layer = Tar::new()
        .symlink("absolute", &outside)
        .file("absolute/secret", "evil")
        .symlink("above", &format!("{above}{outside}"))
        .file("above/secret", "evil")
        .symlink("file", &format!("{outside}/secret"))
        .file("file", "evil")
        .symlink("directory", &outside)
        .dir("directory/secret")
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
fn hard_links_stay_inside_of_the_root() {
    let jail = Jail::new();
    let secret = format!("{}/secret", jail.outside());
    let missing = Memory::of(&[Tar::new().hard_link("link", &secret)]).unpack(&jail.root());
    assert!(described(&missing.unwrap_err()).contains("failed to create the hard link"));

    let jail = Jail::new();
    let layer = Tar::new().symlink("out", &jail.outside()).hard_link("link", "out/secret");
    Memory::of(&[layer]).unpack(&jail.root()).unwrap_err();
    jail.assert_intact();
    assert_rejected(&[Tar::new().dir("directory").hard_link("link", "directory")], "create the hard link");
    assert_rejected(&[Tar::new().hard_link("link", "/")], "the target of the hard link is the root");
    assert_rejected(&[Tar::new().hard_link("link", "")], "the path is empty");
}

#[test]
fn rejects_circular_links() {
    let circle = Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert_rejected(&[circle], "open the parent directory of");
}

#[test]
fn rejects_links_that_build_long_paths() {
    let deep = vec!["d"; 200].join("/");
    let layer = Tar::new().dir(&deep).symlink("s", &deep).file(&format!("s/{deep}/x"), "");
    assert_rejected(&[layer], "open the parent directory of");
}

#[test]
fn rejects_invalid_whiteouts() {
    let lower = || Tar::new().file("a", "");
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        assert_rejected(&[lower(), Tar::new().file(name, "")], "the whiteout has no name");
    }
    assert_rejected(&[lower(), Tar::new().file(".wh.x/inside", "")], "an entry is inside a whiteout");
    assert_rejected(&[lower(), Tar::new().file(".wh../../secret", "")], "the path contains `..`");
    assert_rejected(&[lower(), Tar::new().file("../.wh.secret", "")], "the path contains `..`");
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
fn rejects_a_file_as_parent_directory() {
    assert_rejected(&[Tar::new().file("a", "").file("a/b", "")], "open the parent directory of");
}

#[test]
fn rejects_empty_names_and_targets() {
    let named = |name: &[u8]| Tar::new().entry(EntryType::Regular, name, b"", 0o644, b"");
    assert_rejected(&[named(b"")], "the path is empty or contains NUL");
    assert_rejected(&[Tar::new().pax("path", b"a\0b").file("x", "")], "the path is empty or contains NUL");
    assert_rejected(&[Tar::new().symlink("/", "x")], "the root is not a directory");
    assert_rejected(&[Tar::new().symlink("link", "")], "the target of the symbolic link is not a path");
    assert_rejected(
        &[Tar::new().pax("linkpath", b"a\0b").symlink("link", "x")],
        "the target of the symbolic link is not a path",
    );
}

#[test]
fn error_messages_escape_and_shorten_hostile_names() {
    let name = format!("\x1b[31m{}", "x".repeat(3000));
    let message =
        rejected(&Memory::of(&[Tar::new().entry(EntryType::GNUSparse, name.as_bytes(), b"", 0, b"")]));
    assert!(!message.contains('\x1b') && message.len() < 600, "{message}");
}
