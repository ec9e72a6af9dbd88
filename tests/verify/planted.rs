//! One difference is planted at a time, and reported with its cause.
//!
//! The rebuilt side is the image as it was built; that a rebuild is equal to it is the subject of other
//! tests.

use std::collections::BTreeMap;
use std::path::Path;

use carafe::diff::read_both;
use carafe::diff::report::DiffReport;
use carafe::output::{write_markdown, write_text};
use carafe::verify::Level;
use carafe::verify::report::{VerifyCause, VerifyReport};
use carafe_builder::progress::Progress;
use serde_json::{Value, json};

use crate::unpack_support::Tar;
use crate::variants::{APP, Entry, Variant, entries, find, opened, small};

/// A file of the app, and its parent.
const HOOKS: &str = "apps/greetings/greetings/hooks.py";

/// The data of `carafe verify` for the image at `got`, at each level.
fn reports(want: &Path, got: &Path) -> [Value; 3] {
    let [want, got] = [want, got].map(opened);
    let pair = read_both(&want, &got, &Progress::silent()).unwrap();
    [Level::Bytes, Level::Layers, Level::Tree].map(|level| {
        let report = VerifyReport::new(level, DiffReport::of(&want, &got, &pair).unwrap());
        for write in [write_text, write_markdown] {
            let mut bytes = Vec::new();
            write(&report, &mut bytes, false).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(text.contains("not reproduced ("), !report.equal, "{text}");
            let is_named = |cause: &VerifyCause| report.equal || text.contains(&cause.to_string());
            assert!(report.causes().keys().all(is_named), "{text}");
        }
        serde_json::to_value(&report).unwrap()
    })
}

/// Plants a change in a copy of the image, and returns the data at each level.
fn planted(plant: impl FnOnce(&mut Variant)) -> [Value; 3] {
    let directory = tempfile::tempdir_in(small().parent().unwrap()).unwrap();
    let path = directory.path().join("variant");
    let mut variant = Variant::of(small(), &path);
    plant(&mut variant);
    variant.finish();
    reports(small(), &path)
}

/// Asserts that a change of the app's layer is reported at every level, with this cause only, and returns
/// want and got.
fn only(cause: &str, change: impl FnOnce(&mut Vec<Entry>)) -> (String, String) {
    let [bytes, layers, tree] = planted(|variant| variant.edit(APP, change));
    for report in [&bytes, &layers, &tree] {
        assert_eq!(report["equal"], json!(false), "{report}");
        assert_eq!(report["causes"], json!({cause: 1}), "{report}");
    }
    let entries = bytes["diff"]["entries"].as_array().unwrap();
    let difference = &entries[0]["differences"][0];
    assert_eq!((entries.len(), &difference["cause"]), (1, &json!(cause)), "{bytes}");
    let side = |name: &str| difference[name].as_str().unwrap_or_default().to_owned();
    (side("want"), side("got"))
}

#[test]
fn nothing() {
    for report in planted(|_| ()) {
        // Another program wrote the variant's documents.
        assert_eq!(report["causes"].as_object().map(|causes| causes.len()), Some(0), "{report}");
    }
}

#[test]
fn compression() {
    let [bytes, layers, tree] = planted(|variant| variant.recompress(APP));
    assert_eq!((&bytes["equal"], &bytes["causes"]), (&json!(false), &json!({"compression": 1})));
    assert_eq!((&layers["equal"], &tree["equal"]), (&json!(true), &json!(true)));
}

#[test]
fn order() {
    let swap = |entries: &mut Vec<Entry>| {
        let at = entries.iter().position(|(header, _)| header.path_bytes().ends_with(HOOKS.as_bytes()));
        let at = at.unwrap();
        assert!(entries[at - 1..=at].iter().all(|(header, _)| header.entry_type().is_file()));
        entries.swap(at - 1, at);
    };
    let [bytes, layers, tree] = planted(|variant| variant.edit(APP, swap));
    assert_eq!(bytes["causes"], json!({"order": 1}));
    assert_eq!((&layers["equal"], &tree["equal"]), (&json!(false), &json!(true)));
}

/// As by a tool that squashes layers.
#[test]
fn layers_split_differently() {
    let [bytes, layers, tree] = planted(|variant| variant.join_with_next(APP));
    assert_eq!((&bytes["equal"], &layers["equal"]), (&json!(false), &json!(false)));
    assert_eq!((&tree["equal"], &tree["diff"]["entries"]), (&json!(true), &json!([])), "{tree}");
}

#[test]
fn mtime() {
    let (want, got) = only("mtime", |entries| find(entries, HOOKS).0.set_mtime(1_000_000_000));
    assert_eq!((want.len(), got.as_str()), (20, "2001-09-09T01:46:40Z"));
}

#[test]
fn mode() {
    let sides = only("mode", |entries| find(entries, HOOKS).0.set_mode(0o4755));
    assert_eq!(sides, ("0644".to_owned(), "4755".to_owned()));
}

#[test]
fn owner() {
    let (want, got) = only("owner", |entries| find(entries, HOOKS).0.set_uid(0));
    assert_eq!(want.replacen("1000", "0", 1), got);
}

#[test]
fn xattr() {
    let (want, got) = only("xattr", |list| {
        let at = list.iter().position(|(header, _)| header.path_bytes().ends_with(HOOKS.as_bytes())).unwrap();
        let records = entries(&Tar::new().pax("SCHILY.xattr.security.capability", b"\x01").bytes());
        list.splice(at..at, records);
    });
    assert_eq!(want, "");
    assert!(got.starts_with("SCHILY.xattr.security.capability=sha256:"), "{got}");
}

#[test]
fn pyc_header() {
    let with = |header: u8| {
        move |list: &mut Vec<Entry>| {
            let content = String::from_utf8([vec![header; 16], b"code".to_vec()].concat()).unwrap();
            let hooks = find(list, HOOKS).0.path_bytes().into_owned();
            let path = String::from_utf8(hooks).unwrap().replace("hooks.py", "hooks.pyc");
            list.extend(entries(&Tar::new().file(&path, &content).bytes()));
        }
    };
    let directory = tempfile::tempdir_in(small().parent().unwrap()).unwrap();
    let [one, other] = [1, 2].map(|header| {
        let path = directory.path().join(header.to_string());
        let mut variant = Variant::of(small(), &path);
        variant.edit(APP, with(header));
        variant.finish();
        path
    });
    let [.., report] = reports(&one, &other);
    assert_eq!(report["causes"], json!({"pyc_header": 1}), "{report}");
    let difference = &report["diff"]["entries"][0]["differences"][0];
    assert_eq!(difference["want"], json!("magic 01010101, unchecked source hash 0101010101010101"));
}

#[test]
fn content() {
    let (want, got) = only("content", |entries| find(entries, HOOKS).1.extend(b"import os\n"));
    assert!(want.starts_with("sha256:") && got.starts_with("sha256:") && want != got, "{want} {got}");
}

#[test]
fn added_and_removed() {
    let evil = "home/frappe/frappe-bench/apps/greetings/evil.py";
    let (want, got) = only("added", |list| list.extend(entries(&Tar::new().file(evil, "x").bytes())));
    assert!(want.is_empty() && got.ends_with("(1 bytes)"), "{got}");
    let (want, got) = only("removed", |list| {
        list.retain(|(header, _)| !header.path_bytes().ends_with(HOOKS.as_bytes()));
    });
    assert!(want.starts_with("file sha256:") && got.is_empty(), "{want}");
}

/// The app's commit that bench stored is different, and so is a file of the app.
#[test]
fn a_changed_app() {
    let [bytes, _, tree] = planted(|variant| {
        variant.edit(APP, |entries| find(entries, HOOKS).1.extend(b"x = 1\n"));
        variant.edit_apps_json(|apps| {
            apps["greetings"]["resolution"]["commit_hash"] = json!("c".repeat(40));
        });
    });
    for report in [bytes, tree] {
        assert_eq!(
            (&report["equal"], &report["causes"]),
            (&json!(false), &json!({"changed_input": 1})),
            "{report}"
        );
        let changed = &report["changed_inputs"][0];
        assert_eq!((&changed["kind"], &changed["name"]), (&json!("app"), &json!("greetings")), "{report}");
        assert!(changed["got"].as_str().unwrap().ends_with(&"c".repeat(40)), "{report}");
        let explained: BTreeMap<_, _> = report["explained_entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["path"].as_str().unwrap().rsplit('/').next().unwrap(), &entry["input"]))
            .collect();
        let app = json!({"kind": "app", "name": "greetings"});
        assert_eq!(explained, BTreeMap::from([("apps.json", &app), ("hooks.py", &app)]));
    }
}

/// A version range was resolved to another version when the image was built.
#[test]
fn a_changed_python_package() {
    let [bytes, ..] = planted(|variant| {
        variant.edit("env", |entries| {
            let name = b".dist-info/METADATA";
            let is_metadata = |header: &tar::Header| header.path_bytes().ends_with(name);
            let (header, _) = entries.iter_mut().find(|(header, _)| is_metadata(header)).unwrap();
            let path = String::from_utf8(header.path_bytes().into_owned()).unwrap();
            let (start, end) = path.split_once(".dist-info").unwrap();
            header.set_path(format!("{start}9.dist-info{end}")).unwrap();
        });
    });
    assert_eq!(bytes["causes"], json!({"changed_input": 1}), "{bytes}");
    let changed = &bytes["changed_inputs"][0];
    assert_eq!(changed["kind"], json!("python_package"));
    assert_eq!(changed["got"], json!(format!("{}9", changed["want"].as_str().unwrap())));
    assert_eq!(bytes["explained_entries"].as_array().unwrap().len(), 2);
}

#[test]
fn a_changed_base_image() {
    let [bytes, ..] = planted(|variant| {
        let tar = Tar::new().file("etc/os-release", "ID=other\n").bytes();
        variant.set_base(&tar);
    });
    let changed = &bytes["changed_inputs"][0];
    assert_eq!(changed["kind"], json!("base_image"), "{changed}");
    assert_eq!(bytes["causes"]["changed_input"], json!(1));
    assert_ne!(changed["want"], changed["got"]);
}

/// The configuration of the container is not part of the tree, but must be equal at every level.
#[test]
fn a_changed_config() {
    for report in planted(|variant| variant.config["config"]["User"] = json!("root")) {
        assert_eq!(
            (&report["equal"], &report["causes"]),
            (&json!(false), &json!({"document": 1})),
            "{report}"
        );
    }
}
