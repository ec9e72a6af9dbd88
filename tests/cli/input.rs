//! A spec, an apps.json or a variable that cannot be read as meant.

use insta::assert_snapshot;

use crate::demo::{Demo, TOKEN};
use crate::messages::complaint;

const APPS: &[&str] = &["lock", "--apps", "apps.json", "--frappe-branch", "version-15"];

/// What `carafe lock` says about this apps.json.
fn apps_json(text: &str) -> String {
    let demo = Demo::new();
    demo.write("apps.json", text);
    complaint(&demo, 1, APPS)
}

/// What `carafe lock` says about this carafe.toml.
fn carafe_toml(text: &str) -> String {
    let demo = Demo::new();
    demo.write("carafe.toml", text);
    complaint(&demo, 1, &["lock"])
}

#[test]
fn wrong_json() {
    assert_snapshot!(apps_json("[\n  {\"url\": \"https://git.example.com/a\", \"branch\": }\n]\n"), @r#"
     × apps.json:2:50: expected value
      ╭─[2:50]
    1 │ [
    2 │   {"url": "https://git.example.com/a", "branch": }
      ·                                                  ┬
      ·                                                  ╰── here
    3 │ ]
      ╰────
     help: an apps.json is a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
}

#[test]
fn json_of_another_shape() {
    assert_snapshot!(apps_json("{\n  \"erpnext\": \"version-15\"\n}\n"), @r#"
     × apps.json:1:1: invalid type: map, expected a sequence
      ╭─[1:1]
    1 │ {
      · ┬
      · ╰── here
    2 │   "erpnext": "version-15"
      ╰────
     help: an apps.json is a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
}

#[test]
fn wrong_toml() {
    assert_snapshot!(carafe_toml("[frappe]\nbranch = \"main\"\n[[app]\nurl = \"x\"\n"), @r#"
     × carafe.toml:3:7: unclosed array table, expected `]`
      ╭─[3:7]
    2 │ branch = "main"
    3 │ [[app]
      ·       ▲
      ·       ╰── here
    4 │ url = "x"
      ╰────
     help: docs/spec.md lists every key
    "#);
}

#[test]
fn an_unknown_key() {
    let app = "\"url\": \"https://git.example.com/a\"";
    assert_snapshot!(apps_json(&format!("[\n  {{{app},\n   \"brunch\": \"main\"}}\n]\n")), @r#"
     × apps.json:3:11: unknown field `brunch`, expected one of `url`, `path`, `branch`, `commit`, `off-branch`, `without-required`, `without-submodules`
      ╭─[3:11]
    2 │   {"url": "https://git.example.com/a",
    3 │    "brunch": "main"}
      ·           ┬
      ·           ╰── here
    4 │ ]
      ╰────
     help: an entry has `url` and `branch` as in bench, and `commit`, `path` and others for carafe: see docs/spec.md
    "#);
    assert_snapshot!(carafe_toml("[frappe]\nbranch = \"main\"\n\n[build]\nmemmory = \"2GiB\"\n"), @r#"
     × carafe.toml:5:1: unknown field `memmory`, expected one of `timeout`, `memory`, `env`
      ╭─[5:1]
    4 │ [build]
    5 │ memmory = "2GiB"
      · ───┬───
      ·    ╰── here
      ╰────
     help: docs/spec.md lists every key
    "#);
}

#[test]
fn an_app_that_stands_there_twice() {
    let one = "{\"url\": \"https://git.example.com/org/a\", \"branch\": \"main\"}";
    let two = "{\"url\": \"https://git.example.com/org/a.git\", \"branch\": \"next\"}";
    assert_snapshot!(apps_json(&format!("[\n  {one},\n  {two}\n]\n")), @r#"
     × apps.json:3:3: `https://git.example.com/org/a.git` stands here twice
      ╭─[3:3]
    2 │   {"url": "https://git.example.com/org/a", "branch": "main"},
    3 │   {"url": "https://git.example.com/org/a.git", "branch": "next"}
      ·   ───────────────────────────────┬──────────────────────────────
      ·                                  ╰── here
    4 │ ]
      ╰────
     help: remove one of the two
    "#);
}

#[test]
fn frappe_among_the_apps() {
    let frappe = "{\"url\": \"https://github.com/frappe/frappe\", \"branch\": \"version-15\"}";
    assert_snapshot!(apps_json(&format!("[\n  {frappe}\n]\n")), @r#"
     × apps.json:2:3: frappe stands among the apps
      ╭─[2:3]
    1 │ [
    2 │   {"url": "https://github.com/frappe/frappe", "branch": "version-15"}
      ·   ─────────────────────────────────┬─────────────────────────────────
      ·                                    ╰── here
    3 │ ]
      ╰────
     help: take it out: frappe is installed first, from `[frappe]` or --frappe-path and --frappe-branch
    "#);
}

#[test]
fn a_url_that_is_none() {
    let app =
        |url: &str| format!("[frappe]\nbranch = \"main\"\n[[app]]\nurl = \"{url}\"\nbranch = \"main\"\n");
    assert_snapshot!(carafe_toml(&app("htps://git.example.com/a")), @r#"
     × carafe.toml:4:1: failed to parse `htps://git.example.com/a` as the URL of a git repository: its scheme is not supported
      ╭─[4:1]
    3 │ [[app]]
    4 │ url = "htps://git.example.com/a"
      · ─┬─
      ·  ╰── here
    5 │ branch = "main"
      ╰────
     help: forms: https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo, file:///directory, org/repo[@ref]; a directory of files is `path = …`
    "#);
}

#[test]
fn no_branch_and_no_frappe() {
    assert_snapshot!(carafe_toml("[frappe]\nbranch = \"main\"\n[[app]]\nurl = \"https://git.example.com/a\"\n"), @r#"
     × carafe.toml:3:1: an app needs a `branch` or a `commit`
      ╭─[3:1]
    2 │ branch = "main"
    3 │ [[app]]
      · ───┬───
      ·    ╰── here
    4 │ url = "https://git.example.com/a"
      ╰────
     help: add `branch` with a branch or a tag, or `commit`; only what is named can be locked
    "#);
    assert_snapshot!(carafe_toml(""), @"
    × frappe: which frappe is not said
    help: name it: `--frappe-branch version-15` (or FRAPPE_BRANCH), or `[frappe] branch = …` in carafe.toml
    ");
}

#[test]
fn a_file_that_is_not_there() {
    let demo = Demo::new();
    assert_snapshot!(complaint(&demo, 1, &["lock", "--spec", "missing.toml"]), @"
    × missing.toml: failed to read the file: No such file or directory (os error 2)
    help: check the path, and that you may read it
    ");
    assert_snapshot!(complaint(&demo, 1, APPS), @"
    × apps.json: failed to read the file: No such file or directory (os error 2)
    help: check the path, and that you may read it
    ");
}

#[test]
fn a_variable_that_is_not_set() {
    let demo = Demo::new();
    let url = demo.git.replace("http://", "http://${GREETINGS_TOKEN}@") + "/greetings.git";
    demo.write("carafe.toml", &demo.spec(&format!("[[app]]\nurl = \"{url}\"\nbranch = \"main\"\n")));
    assert_snapshot!(complaint(&demo, 1, &["lock"]), @r#"
     × carafe.toml:9:1: the environment variable `GREETINGS_TOKEN` is not set
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://******************@[GIT]/greetings.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: set it before you run carafe
    "#);

    let mut command = demo.carafe(&["lock", "--quiet"]);
    crate::demo::succeed(command.env("GREETINGS_TOKEN", TOKEN));
    let lock = std::fs::read_to_string(demo.path("carafe.lock")).unwrap();
    assert!(lock.contains("/greetings.git") && !lock.contains(TOKEN), "{lock}");
}

#[test]
fn base64_that_is_none() {
    let demo = Demo::new();
    let mut command = demo.carafe(&["lock"]);
    let output = command.env("APPS_JSON_BASE64", "[{\"url\"").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"
    × APPS_JSON_BASE64: it is not base64
    help: make it with `base64 -w0 apps.json`
    ");
}

#[test]
fn a_strangers_key_cannot_speak_to_the_terminal() {
    let demo = Demo::new();
    demo.write("carafe.toml", &format!("\"\\u001b[2J\\u001b]0;x\" = 1\n{}", demo.spec("")));
    let stderr = demo.fail(1, &["lock"]);
    assert!(stderr.contains("unknown field") && !stderr.contains('\u{1b}'), "{stderr:?}");
}
