//! From a finished bench to a plan of layers.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;

use carafe_layers::format::FIXED_MTIME;
use carafe_layers::plan::plan;
use carafe_layers::walk::walk;

use super::*;
use crate::bench::BENCH_DIR;
use crate::git::RefKind;
use crate::lock::{LockedApp, LockedSource, tests::sample};

fn lock() -> Lock {
    let app = |name: &str, time| LockedApp {
        name: name.into(),
        source: LockedSource::Git {
            url: format!("https://git.example.com/demo/{name}"),
            reference: Some((RefKind::Tag, "v1.0.0".into())),
        },
        time,
        ..sample().apps[0].clone()
    };
    let apps = vec![app("frappe", 1_767_603_600), app("greetings", 1_767_690_000)];
    Lock { source_date_epoch: 1_767_690_000, apps, ..sample() }
}

/// A small bench after `bench build`.
fn bench() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let states = r#"{"frappe": {"version": "1.0.0"}, "greetings": {"version": "1.0.0", "required": []}}"#;
    let files = [
        ("apps/frappe/.git/HEAD", ""),
        ("apps/frappe/frappe/app.py", "x"),
        ("apps/frappe/node_modules/sass/sass.js", "x"),
        ("apps/greetings/greetings/hooks.py", "x"),
        ("config/pids/.keep", ""),
        ("env/bin/python", "x"),
        ("env/lib/python3.11/site-packages/click/__pycache__/core.cpython-311.pyc", "x"),
        ("logs/bench.log", "x"),
        ("patches.txt", "x"),
        ("sites/apps.json", states),
        ("sites/assets/assets.json", "{}"),
    ];
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let public = format!("{BENCH_DIR}/apps/frappe/frappe/public");
    symlink(public, directory.path().join("sites/assets/frappe")).unwrap();
    directory
}

#[test]
fn a_bench_becomes_layers() {
    let (bench, scripts, lock) = (bench(), tempfile::tempdir().unwrap(), lock());
    let built = finish(bench.path(), &lock, &scripts.path().join("scripts")).unwrap();

    let entries = walk(&built.mappings, &built.mtimes).unwrap();
    let layers = plan(&entries, &built.layers, NonZeroUsize::new(20).unwrap());
    let mut shown = String::new();
    for layer in layers {
        shown += &format!("== {}\n", layer.name);
        for entry in layer.entries {
            let owner = entry.mapping.owner.uid;
            shown += &format!("{} {owner} {}\n", entry.mtime - FIXED_MTIME, entry.path);
        }
    }
    insta::assert_snapshot!(shown);
    insta::assert_debug_snapshot!(built.changes);
    assert_eq!(built.applied.len(), normalize::RULES.len());
}

#[test]
fn rejects_unknown_and_missing_apps() {
    let (directory, scripts) = (bench(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("apps/package.json"), "{}").unwrap();
    let error = finish(directory.path(), &lock(), scripts.path()).unwrap_err().to_string();
    assert!(error.contains("apps/ has `package.json`"), "{error}");

    fs::remove_file(directory.path().join("apps/package.json")).unwrap();
    fs::remove_dir_all(directory.path().join("apps/greetings")).unwrap();
    let error = finish(directory.path(), &lock(), scripts.path()).unwrap_err().to_string();
    assert!(error.contains("apps/ has no directory `greetings`"), "{error}");
}

#[test]
fn rejects_an_app_that_is_a_link() {
    let (directory, scripts) = (bench(), tempfile::tempdir().unwrap());
    fs::remove_dir_all(directory.path().join("apps/greetings")).unwrap();
    symlink("/etc", directory.path().join("apps/greetings")).unwrap();
    let error = finish(directory.path(), &lock(), scripts.path()).unwrap_err();
    assert!(matches!(error, ImageTreeError::AppMissing { .. }), "{error}");
}

#[test]
fn bash_can_parse_the_scripts() {
    for (name, content) in layout::SCRIPTS {
        let mut child = std::process::Command::new("bash")
            .args(["-n", "/dev/stdin"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), content).unwrap();
        assert!(child.wait().unwrap().success(), "{name}");
    }
}
