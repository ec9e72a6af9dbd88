//! The command: its output and its exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use carafe_layers::digest::Digest;
use insta::assert_snapshot;
use serde_json::json;
use tar::{EntryType, Header};
use tempfile::{TempDir, tempdir};

use crate::images::{BENCH, carafe, data, diff, image, stored};
use crate::registry::RegistryServer;
use crate::unpack_support::{Tar, gzip};

fn bench(commit: &str, click: &str, vue: &str, hash: &str, hooks: &str) -> Vec<Tar> {
    let apps = json!({"hrms": {"resolution": {"branch": "version-15", "commit_hash": commit}}});
    let package = json!({"name": "vue", "version": vue});
    let at = |path: &str| format!("{BENCH}/{path}");
    vec![
        Tar::new().file("etc/os-release", "Debian"),
        Tar::new()
            .file(&at("sites/apps.json"), &apps.to_string())
            .file(&at(&format!("env/lib/python3.11/site-packages/click-{click}.dist-info/METADATA")), "")
            .file(&at("apps/hrms/node_modules/vue/package.json"), &package.to_string())
            .file(&at(&format!("assets/hrms/dist/css/hrms.bundle.{hash}.css")), "")
            .file(&at("apps/hrms/hrms/hooks.py"), hooks),
    ]
}

fn two_benches() -> TempDir {
    let directory = tempdir().unwrap();
    let [old, new] = ["1", "2"].map(|digit| digit.repeat(40));
    image(&directory.path().join("old"), &bench(&old, "8.1.7", "3.4.0", "AAAA", "a = 1"), json!({"v": "1"}));
    image(&directory.path().join("new"), &bench(&new, "8.2.0", "3.5.0", "BBBB", "a = 2"), json!({"v": "2"}));
    directory
}

#[test]
fn an_image_equals_itself() {
    let directory = two_benches();
    let text = diff(directory.path(), 0, &["oci:old", "old"]);
    assert!(text.contains("\nequal: "), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    let json = data(directory.path(), 0, &["old", "old"]);
    assert_eq!((&json["equal"], &json["entries"]), (&json!(true), &json!([])));
}

#[test]
fn registries_and_archives_are_compared_like_layouts() {
    let directory = two_benches();
    let path = directory.path();
    let mut tar = Command::new("tar");
    tar.args(["--create", "--file=new.tar", "--directory=new", "."]).current_dir(path);
    assert!(tar.status().unwrap().success());
    let registry = RegistryServer::start();
    let name = registry.image("erp:1");
    let insecure = ["--insecure-registry", registry.address()];
    let mut push = carafe(path);
    let pushed = push.args(["push", "--quiet", "old", &name]).args(insecure).output().unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));

    diff(path, 0, &[&[&name, "old"][..], &insecure].concat());
    diff(path, 0, &["new", "oci-archive:new.tar"]);
    let across = diff(path, 3, &[&[&name, "oci-archive:new.tar"][..], &insecure].concat());
    let rest = |text: &str| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rest(&across), rest(&diff(path, 3, &["old", "new"])));
}

#[test]
fn images_with_the_same_tree_differ_in_their_layers() {
    let directory = tempdir().unwrap();
    let (a, b) = (Tar::new().file("a", "1"), Tar::new().file("b", "2"));
    image(&directory.path().join("one"), &[a.clone().raw(&b)], json!({}));
    image(&directory.path().join("two"), &[a, b], json!({}));
    let text = diff(directory.path(), 3, &["one", "two"]);
    assert!(text.contains("different: 2 of 2 layers, 0 entries (the trees are the same)"), "{text}");
}

/// Each cause is planted alone, and has a section of its own in the output.
#[test]
fn every_cause_has_its_section() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let entry = |mode: u32| Tar::new().entry(EntryType::Regular, b"a", b"", mode, b"");
    let header = |change: fn(&mut Header)| {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[0] = b'a';
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(0);
        change(&mut header);
        Tar::new().header(header)
    };
    let plain = || entry(0o644);
    for (cause, want, got) in [
        ("mtime", plain(), header(|header| header.set_mtime(1))),
        ("mode", plain(), entry(0o600)),
        ("owner", plain(), header(|header| header.set_uid(7))),
        ("kind", plain(), Tar::new().dir("a")),
        ("xattr", plain(), Tar::new().pax("SCHILY.xattr.user.x", b"1").raw(&plain())),
        ("link-target", Tar::new().symlink("a", "x"), Tar::new().symlink("a", "y")),
        ("content", plain(), Tar::new().file("a", "x")),
        ("added", Tar::new(), plain()),
        ("removed", plain(), Tar::new()),
    ] {
        image(&path.join("want"), &[want], json!({}));
        image(&path.join("got"), &[got], json!({}));
        let text = diff(path, 3, &["want", "got"]);
        assert!(text.contains(&format!("\nentries: {cause} (1)\n")), "{cause}: {text}");
    }
    let tar = plain().raw(&Tar::new().file("b", ""));
    let bytes = tar.clone().bytes();
    let twice = [gzip(&bytes[..700]), gzip(&bytes[700..])].concat();
    image(&path.join("want"), &[tar], json!({}));
    stored(&path.join("got"), vec![(twice, Digest::of(&bytes))], json!({}));
    assert!(diff(path, 3, &["want", "got"]).contains("~ layer-0 [compression]"));
    image(&path.join("got"), &[Tar::new().file("b", "").raw(&plain())], json!({}));
    assert!(diff(path, 3, &["want", "got"]).contains("~ layer-0 [order]"));
}

#[test]
fn differences_in_frappes_terms_come_first() {
    let directory = two_benches();
    let text = diff(directory.path(), 3, &["old", "new"]);
    assert!(text.contains(&format!("{} -> version-15 at {}", "1".repeat(40), "2".repeat(40))), "{text}");
    assert_snapshot!("text", without_ids(&text));
    assert_snapshot!("markdown", without_ids(&diff(directory.path(), 3, &["old", "new", "--markdown"])));
    assert_eq!(diff(directory.path(), 3, &["old", "new", "--quiet"]), "");
    let json = data(directory.path(), 3, &["old", "new"]);
    assert_eq!(
        json["frappe"]["node_packages"][0],
        json!({"name": "hrms: vue", "want": "3.4.0", "got": "3.5.0"})
    );
    assert_eq!(json["causes"], json!({"content": 3, "added": 2, "removed": 2}));
    assert_eq!(json["entries"].as_array().unwrap().len(), 7);
}

/// `[ID]` for each digest and commit: an image's digests depend on the machine's architecture.
fn without_ids(text: &str) -> String {
    let words = text.split_inclusive(|character: char| !character.is_ascii_hexdigit());
    let shown = |word: &str| match word.bytes().take_while(u8::is_ascii_hexdigit).count() {
        digits @ 12.. => format!("[ID]{}", &word[digits..]),
        _ => word.to_owned(),
    };
    words.map(shown).collect()
}

#[test]
fn long_lists_are_truncated_without_all() {
    let directory = tempdir().unwrap();
    let files = |content: &str| (0..25).fold(Tar::new(), |tar, at| tar.file(&format!("f{at}"), content));
    image(&directory.path().join("old"), &[files("1")], json!({}));
    image(&directory.path().join("new"), &[files("2")], json!({}));
    let short = diff(directory.path(), 3, &["old", "new"]);
    assert!(
        short.contains("entries: content (25)") && short.contains("5 more: use --all to print them"),
        "{short}"
    );
    let all = diff(directory.path(), 3, &["old", "new", "--all"]);
    assert_eq!(all.lines().filter(|line| line.starts_with("  ~ f")).count(), 25, "{all}");
}

#[test]
fn names_contain_no_control_characters_and_break_no_table() {
    let directory = tempdir().unwrap();
    image(&directory.path().join("old"), &[Tar::new()], json!({}));
    image(&directory.path().join("new"), &[Tar::new().file("a\x1b[2J|`b`\n| c", "")], json!({}));
    for arguments in [["old", "new", "--all"], ["old", "new", "--markdown"], ["old", "new", "--json"]] {
        let text = diff(directory.path(), 3, &arguments);
        assert!(!text.contains('\x1b'), "{text}");
    }
    let table = diff(directory.path(), 3, &["old", "new", "--markdown"]);
    assert!(table.contains(r"`a\u{1b}[2J\|'b'\n\| c`"), "{table}");
}

#[test]
fn contradictory_images_are_errors_and_never_equal() {
    let directory = two_benches();
    let path = directory.path();
    let tar = Tar::new().file("a", "1").bytes();
    stored(&path.join("contradiction"), vec![(gzip(&tar), Digest::of(b"another"))], json!({}));
    image(&path.join("label"), &[Tar::new()], json!({"dev.carafe.lock": "version = 1\nmore = 'x'"}));
    image(&path.join("future"), &[Tar::new()], json!({"dev.carafe.lock": "version = 99"}));
    image(&path.join("huge"), &[Tar::new()], json!({"x": "y".repeat(10 << 20)}));
    for (name, change) in [("cut", -1), ("long", 1)] {
        change_layer(&path.join(name), change);
    }
    for (name, reason) in [
        ("contradiction", "expected the diff id"),
        ("label", "failed to read the label"),
        ("future", "its version is 99"),
        ("huge", "exceeds the limit of"),
        ("cut", "bytes, got"),
        ("long", "bytes, got"),
        ("missing", "failed to"),
    ] {
        let name = format!("oci:{name}");
        for arguments in [["old", &name], [&name, "old"], [&name, &name]] {
            let words = diff(path, 1, &arguments).replace("\n", " ");
            assert!(words.contains(reason), "{name}: {words}");
        }
    }
}

/// An image whose layer has one byte more or less than in its manifest.
fn change_layer(directory: &Path, change: i32) {
    let tar = Tar::new().file("a", "1").bytes();
    let blob = gzip(&tar);
    stored(directory, vec![(blob.clone(), Digest::of(&tar))], json!({}));
    let path = directory.join("blobs/sha256").join(Digest::of(&blob).hex());
    let bytes = if change < 0 { blob[..blob.len() - 1].to_vec() } else { [blob, vec![0]].concat() };
    fs::write(path, bytes).unwrap();
}
