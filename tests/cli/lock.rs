//! The lock: what it pins, and builds without a lock or with one of another spec.

use insta::assert_snapshot;

use crate::demo::{Demo, TOKEN, bases, repositories, succeed};
use crate::messages::error_output;
use crate::variants;

fn read(demo: &Demo, name: &str) -> String {
    std::fs::read_to_string(demo.path(name)).unwrap()
}

/// The table of an app in the lock.
fn locked_app(demo: &Demo, app: &str) -> toml::Table {
    let lock: toml::Table = read(demo, "carafe.lock").parse().unwrap();
    let apps = lock["app"].as_array().unwrap().iter().map(|app| app.as_table().unwrap());
    apps.into_iter().find(|table| table["name"].as_str() == Some(app)).unwrap().clone()
}

/// A spec with this frappe and these apps. Its images are pinned.
fn spec_of(demo: &Demo, frappe: &str, apps: &str) -> String {
    let images = format!(
        "build-image = \"oci:{0}/build-image\"\nbase-image = \"oci:{0}/base-image\"\n",
        bases().display()
    );
    format!("[image]\n{images}[frappe]\nurl = \"{}\"\n{frappe}\n{apps}", demo.url("frappe"))
}

fn frappe_commit() -> String {
    format!("commit = \"{}\"", variants::commit(&repositories().join("frappe.git"), "main"))
}

#[test]
fn a_branch_requires_a_lock() {
    let demo = Demo::new();
    assert_snapshot!(error_output(&demo, 1, &["build", "--quiet"]), @r#"
     × carafe.toml:7:1: `main` of http://[GIT]/frappe.git is a branch, which is not pinned
      ╭─[7:1]
    6 │ url = "http://*********************@[GIT]/frappe.git"
    7 │ branch = "main"
      · ───┬──
      ·    ╰── here
    8 │ [[app]]
      ╰────
     help: run `carafe lock` and commit carafe.lock (or `carafe build --lock` to lock now), or add `commit`
    "#);
}

#[test]
fn a_tag_requires_no_lock() {
    let demo = Demo::new();
    // The error is about the apps, after all names were resolved.
    demo.write("carafe.toml", &spec_of(&demo, "branch = \"v1.0.0\"", &demo.app("farewell", "v1.0.0")));
    let error = error_output(&demo, 1, &["build", "--quiet"]);
    assert!(error.contains("`farewell` requires `greetings`"), "{error}");
}

#[test]
fn locked_rejects_what_is_not_pinned() {
    let demo = Demo::new();
    demo.write("carafe.toml", &spec_of(&demo, &frappe_commit(), &demo.app("greetings", "v1.0.0")));
    assert_snapshot!(error_output(&demo, 1, &["build", "--quiet", "--locked"]), @r#"
     × carafe.toml:7:1: `http://[GIT]/greetings.git` has no `commit`, and there is no lock
      ╭─[7:1]
    6 │ commit = "[ID]"
    7 │ [[app]]
      · ───┬───
      ·    ╰── here
    8 │ url = "http://*********************@[GIT]/greetings.git"
      ╰────
     help: run `carafe lock` and commit carafe.lock, or add `commit`
    "#);
    let base = ["--base-image", "docker.io/frappe/base:version-15"];
    assert_snapshot!(error_output(&demo, 1, &[&["build", "--quiet", "--locked"][..], &base].concat()), @"
     × --base-image: `docker.io/frappe/base:version-15` has no digest, and there is no lock
      ╭────
    1 │ docker.io/frappe/base:version-15
      · ────────────────┬───────────────
      ·                 ╰── here
      ╰────
     help: write it as `name@sha256:…`, or run `carafe lock` and commit carafe.lock
    ");
}

#[test]
fn a_lock_of_another_spec() {
    let demo = Demo::new();
    assert_snapshot!(error_output(&demo, 3, &["lock", "--check"]), @"carafe.lock does not exist; run `carafe lock`");
    demo.run(&["lock", "--quiet"]);
    assert_snapshot!(error_output(&demo, 0, &["lock", "--check"]), @"carafe.lock is up to date");
    let before = read(&demo, "carafe.lock");
    demo.write("carafe.toml", &demo.spec(&demo.app("greetings", "v1.0.0")));
    assert_snapshot!(error_output(&demo, 3, &["lock", "--check"]), @"carafe.lock is out of date: the spec has changed; run `carafe lock`");
    assert_snapshot!(error_output(&demo, 1, &["build", "--quiet"]), @"
    × `carafe.lock` is out of date: the spec has changed
    help: run `carafe lock`, review the difference, and commit it
    ");
    assert_eq!(read(&demo, "carafe.lock"), before);
}

#[test]
fn a_lock_of_a_newer_version_and_a_malformed_one() {
    let demo = Demo::new();
    demo.write("carafe.lock", "version = 99\n[[thing]]\nunknown = true\n");
    assert_snapshot!(error_output(&demo, 1, &["build", "--quiet"]), @"
    × failed to read `carafe.lock`: its version is 99, this version of carafe supports 1
    help: use the version of carafe that wrote it, or run `carafe lock`, which writes a new one
    ");
    demo.write("carafe.lock", "version = 1\nformat-version = 1\n<<<<<<< HEAD\n");
    assert_snapshot!(error_output(&demo, 1, &["build", "--quiet"]), @"
    × failed to parse `carafe.lock`
    ╰─▶ TOML parse error at line 3, column 9
          |
        3 | <<<<<<< HEAD
          |         ^
        key with no value, expected `=`

    help: run `carafe lock`, which writes a new one
    ");
}

#[test]
fn a_lock_is_reproducible_and_contains_no_token() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let first = read(&demo, "carafe.lock");
    demo.run(&["lock", "--quiet", "--lock-file", "second.lock"]);
    assert_eq!(read(&demo, "second.lock"), first);
    assert!(!first.contains(TOKEN), "{first}");
}

#[test]
fn an_annotated_tag_is_peeled() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&demo.app("greetings", "v1.0.0")));
    demo.run(&["lock", "--quiet"]);
    let repository = repositories().join("greetings.git");
    let greetings = locked_app(&demo, "greetings");
    assert_eq!(greetings["tag"].as_str(), Some("v1.0.0"));
    assert_eq!(greetings["commit"].as_str(), Some(variants::commit(&repository, "v1.0.0").as_str()));
    let git = |name: &str| {
        let mut git = std::process::Command::new("git");
        succeed(git.arg("-C").arg(&repository).args(["rev-parse", name])).trim().to_owned()
    };
    assert_eq!(greetings["tree"].as_str(), Some(git("v1.0.0^{tree}").as_str()));
    assert_ne!(git("v1.0.0"), git("v1.0.0^{commit}"), "the tag must be an annotated one");
}

#[test]
fn a_commit_must_be_on_its_branch() {
    let demo = Demo::new();
    let commit = format!("commit = \"{}\"\n", variants::side_commit());
    let app = variants::app("broken", "main") + &commit;
    demo.write("carafe.toml", &demo.spec(&app));
    assert_snapshot!(error_output(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:11:1: commit [ID] is not on `main` of http://[VARIANTS]/broken.git
       ╭─[11:1]
    10 │ branch = "main"
    11 │ commit = "[ID]"
       · ───┬──
       ·    ╰── here
    12 │ [build]
       ╰────
     help: check the commit; set `branch` to a branch that has it, or `off-branch = true` if this is intended
    "#);
    assert!(!demo.path("carafe.lock").exists());

    demo.write("carafe.toml", &demo.spec(&format!("{app}off-branch = true\n")));
    demo.run(&["lock", "--quiet"]);
    assert_eq!(locked_app(&demo, "greetings")["commit"].as_str(), Some(variants::side_commit().as_str()));
    demo.write("carafe.toml", &demo.spec(&(variants::app("broken", "side") + &commit)));
    demo.run(&["lock", "--quiet"]);
}

#[test]
fn the_environment_of_frappe_docker_is_sufficient() {
    let demo = Demo::new();
    std::fs::remove_file(demo.path("carafe.toml")).unwrap();
    demo.write("apps.json", &format!("[{{\"url\": \"{}\", \"branch\": \"main\"}}]", demo.url("greetings")));
    let base64 = succeed(std::process::Command::new("base64").arg("-w0").arg(demo.path("apps.json")));
    let image = |name: &str| format!("oci:{}/{name}", bases().display());
    let arguments =
        ["lock", "--quiet", "--build-image", &image("build-image"), "--base-image", &image("base-image")];
    let mut command = demo.carafe(&arguments);
    command
        .env("APPS_JSON_BASE64", base64)
        .env("FRAPPE_PATH", demo.url("frappe"))
        .env("FRAPPE_BRANCH", "main");
    succeed(&mut command);
    for app in ["frappe", "greetings"] {
        let commit = variants::commit(&repositories().join(format!("{app}.git")), "main");
        assert_eq!(locked_app(&demo, app)["commit"].as_str(), Some(commit.as_str()));
        assert_eq!(locked_app(&demo, app)["branch"].as_str(), Some("main"));
    }
}
