//! Names, links and whiteouts that lead out, or nowhere.

use std::fs;

use tar::EntryType;

use crate::unpack_support::{Memory, Tar};
use crate::{Jail, assert_refused, described, refused};

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
fn hostile_names_are_shown_escaped_and_short() {
    let name = format!("\x1b[31m{}", "x".repeat(3000));
    let words = refused(&Memory::of(&[Tar::new().entry(EntryType::GNUSparse, name.as_bytes(), b"", 0, b"")]));
    assert!(!words.contains('\x1b') && words.len() < 600, "{words}");
}
