//! The order of the crate's modules, which `src/lib.rs` documents, and the checker itself.

#[path = "../../tests/common/layering.rs"]
mod layering;

use std::fs;
use std::path::Path;

use layering::{check, check_strict};

/// From the lowest to the highest.
const ORDER: [&str; 27] = [
    "text",
    "digest",
    "format",
    "json",
    "time",
    "oci",
    "verified",
    "source",
    "referrers",
    "graph",
    "path",
    "pattern",
    "mtime",
    "tree",
    "walk",
    "plan",
    "tar_writer",
    "tar_reader",
    "gzip",
    "layout",
    "unpack",
    "archive",
    "scan",
    "read_ahead",
    "pack",
    "image",
    "diff",
];

#[test]
fn modules_import_only_lower_modules() {
    assert_eq!(check_strict(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &ORDER), [""; 0]);
}

#[test]
fn the_documentation_lists_the_same_order() {
    let root = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let (_, list) = root.split_once("# Order of the modules").unwrap();
    let numbered = list.lines().filter(|line| line.starts_with("//! ") && line.contains(". "));
    let names: Vec<&str> = numbered
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, names)| names.split(", "))
        .map(|name| name.trim_matches(['[', '`', ']']))
        .collect();
    assert_eq!(names, ORDER);
}

/// The problems of a crate with these files.
fn problems(order: &[&str], files: &[(&str, &str)]) -> Vec<String> {
    let directory = written(files);
    check(directory.path(), order)
}

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

/// The problems of a module `low` with this text, below the module `high` with the child `high::inner`.
fn planted(low: &str) -> Vec<String> {
    let high = "pub mod inner;\npub use inner::X;\nuse crate::low::Y;";
    let files = [("lib.rs", "mod low;\nmod high;"), ("low.rs", low), ("high/mod.rs", high)];
    problems(&["low", "high"], &[&files[..], &[("high/inner.rs", "pub struct X;")]].concat())
}

#[test]
fn accepts_imports_of_lower_modules() {
    assert_eq!(planted(""), [""; 0]);
    assert_eq!(planted("use std::io; use serde::high::X; use self::local; fn high() { x.high(); }"), [""; 0]);
}

#[test]
fn finds_a_planted_import() {
    let below = "`low` is below `high` in the order";
    for (text, location) in [
        ("use crate::high::X;", "low.rs:1: crate::high::X: "),
        ("\n\npub(crate) use super::high::X as Z;", "low.rs:3: super::high::X: "),
        ("use crate::{low::Z, high::{X}};", "low.rs:1: crate::high::X: "),
        ("use crate::high::*;", "low.rs:1: crate::high: "),
        ("fn f(x: crate::high::X) -> u8 { 0 }", "low.rs:1: crate::high::X: "),
        ("const A: &str = \"\\\"//\"; /* /* */ */ const B: char = '\\''; use crate::high;", "low.rs:1: "),
        ("const A: &str = r#\"\n\"\"#;\nfn f<'a>(_: &'a str) { crate::high::f() }", "low.rs:3: "),
        ("pub mod inline { fn f() { super::super::high::f() } }", "low.rs:1: super::super::high::f: "),
        ("macro_rules! m { () => { $crate::high::f() } }", "low.rs:1: crate::high::f: "),
    ] {
        let problems = planted(text);
        let [order, cycle] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert!(order.starts_with(location) && order.ends_with(below), "{text}: {order}");
        assert!(cycle.starts_with("files import each other in a cycle:"), "{cycle}");
    }
    let [order] = planted("use crate::high::inner::X;").try_into().unwrap();
    assert_eq!(order, "low.rs:1: crate::high::inner::X: `low` is below `high::inner` in the order");
}

#[test]
fn ignores_comments_strings_tests_and_visibilities() {
    for text in [
        "//! [`crate::high::X`]\n/* use crate::high::X; */",
        "const A: &str = \"crate::high::X\"; const B: &[u8] = br##\"crate::high\"##;",
        "#[cfg(test)]\nmod tests {\n    use crate::high::X;\n    fn f() { {} }\n}",
        "#[cfg(test)]\nuse crate::high::X;",
        "#[cfg(test)]\nfn f(x: [u8; 2]) -> crate::high::X { X }",
        "pub(in crate::high) struct A; crate::high!(x);",
    ] {
        assert_eq!(planted(text), [""; 0], "{text}");
    }
    let files = [("lib.rs", "mod a;\n#[cfg(test)]\nmod tests;"), ("a.rs", ""), ("tests.rs", "use crate::a;")];
    assert_eq!(problems(&["a"], &files), [""; 0]);
}

#[test]
fn finds_a_planted_cycle_within_a_module() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b;\nmod c;\nmod d;"),
        ("a/b.rs", "use super::c::C;"),
        ("a/c.rs", "use crate::a::d;"),
        ("a/d.rs", "fn f() {\n    super::b::f()\n}"),
    ];
    let cycle = "files import each other in a cycle:\n    a/b.rs:1: super::c::C\n    \
                 a/c.rs:1: crate::a::d\n    a/d.rs:2: super::b::f";
    assert_eq!(problems(&["a"], &files), [cycle]);
}

#[test]
fn only_the_strict_check_rejects_a_cycle_of_a_child_and_its_parent() {
    let files =
        [("lib.rs", "mod a;"), ("a/mod.rs", "mod b;\nuse b::B;\nstruct A;"), ("a/b/mod.rs", "use super::A;")];
    let cycle = "files import each other in a cycle:\n    a/mod.rs:2: b::B\n    a/b/mod.rs:1: super::A";
    assert_eq!(problems(&["a"], &files), [""; 0]);
    assert_eq!(check_strict(written(&files).path(), &["a"]), [cycle]);
}

#[test]
fn nested_entries_order_the_children_of_a_module() {
    let files = |low: &'static str| {
        [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod low;\nmod high;\npub use high::X;"),
            ("a/low.rs", low),
            ("a/high.rs", ""),
        ]
    };
    let order = ["a::low", "a::high", "a"];
    assert_eq!(problems(&order, &files("")), [""; 0]);
    let problem = "a/low.rs:1: super::high::X: `a::low` is below `a::high` in the order";
    assert_eq!(problems(&order, &files("use super::high::X;")), [problem]);
}

#[test]
fn every_module_must_be_in_the_order_once() {
    let files = [("lib.rs", "mod a;\npub struct Root;"), ("a.rs", "use crate::Root;"), ("b.rs", "")];
    assert_eq!(
        problems(&["a", "c", "a"], &files),
        [
            "b.rs: module `b` is not in the order",
            "the order contains `c`, which does not exist",
            "the order contains `a` twice",
            "a.rs:1: crate::Root imports from the crate root",
        ]
    );
}
