//! Invalid specs, apps.json files and environment variables.

use insta::assert_snapshot;

use crate::demo::{Demo, TOKEN};
use crate::messages::error_output;

const APPS: &[&str] = &["lock", "--apps", "apps.json", "--frappe-branch", "version-15"];

/// The error of `carafe lock` for this apps.json.
fn apps_json(text: &str) -> String {
    let demo = Demo::new();
    demo.write("apps.json", text);
    error_output(&demo, 1, APPS)
}

/// The error of `carafe lock` for this carafe.toml.
fn carafe_toml(text: &str) -> String {
    let demo = Demo::new();
    demo.write("carafe.toml", text);
    error_output(&demo, 1, &["lock"])
}

#[test]
fn rejects_invalid_json() {
    assert_snapshot!(apps_json("[\n  {\"url\": \"https://git.example.com/a\", \"branch\": }\n]\n"), @r#"
     × apps.json:2:50: expected value
      ╭─[2:50]
    1 │ [
    2 │   {"url": "https://git.example.com/a", "branch": }
      ·                                                  ┬
      ·                                                  ╰── here
    3 │ ]
      ╰────
     help: an apps.json must be a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
}

#[test]
fn rejects_json_that_is_not_a_list() {
    assert_snapshot!(apps_json("{\n  \"erpnext\": \"version-15\"\n}\n"), @r#"
     × apps.json:1:1: invalid type: map, expected a sequence
      ╭─[1:1]
    1 │ {
      · ┬
      · ╰── here
    2 │   "erpnext": "version-15"
      ╰────
     help: an apps.json must be a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
}

#[test]
fn rejects_invalid_toml() {
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
fn rejects_an_unknown_key() {
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
     help: docs/spec.md describes every key
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
fn rejects_an_app_that_is_listed_twice() {
    let one = "{\"url\": \"https://git.example.com/org/a\", \"branch\": \"main\"}";
    let two = "{\"url\": \"https://git.example.com/org/a.git\", \"branch\": \"next\"}";
    assert_snapshot!(apps_json(&format!("[\n  {one},\n  {two}\n]\n")), @r#"
     × apps.json:3:3: `https://git.example.com/org/a.git` is listed twice
      ╭─[3:3]
    2 │   {"url": "https://git.example.com/org/a", "branch": "main"},
    3 │   {"url": "https://git.example.com/org/a.git", "branch": "next"}
      ·   ───────────────────────────────┬──────────────────────────────
      ·                                  ╰── here
    4 │ ]
      ╰────
     help: remove one of the two entries
    "#);
}

#[test]
fn rejects_frappe_among_the_apps() {
    let frappe = "{\"url\": \"https://github.com/frappe/frappe\", \"branch\": \"version-15\"}";
    assert_snapshot!(apps_json(&format!("[\n  {frappe}\n]\n")), @r#"
     × apps.json:2:3: frappe must not be listed among the apps
      ╭─[2:3]
    1 │ [
    2 │   {"url": "https://github.com/frappe/frappe", "branch": "version-15"}
      ·   ─────────────────────────────────┬─────────────────────────────────
      ·                                    ╰── here
    3 │ ]
      ╰────
     help: remove it: frappe is always installed first; `[frappe]`, or --frappe-path and --frappe-branch, set its repository and branch
    "#);
}

#[test]
fn rejects_an_invalid_url() {
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
     help: supported forms: https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo, file:///directory, org/repo[@ref]; for a directory of files use `path`
    "#);
}

#[test]
fn requires_a_branch_of_each_app_and_of_frappe() {
    assert_snapshot!(carafe_toml("[frappe]\nbranch = \"main\"\n[[app]]\nurl = \"https://git.example.com/a\"\n"), @r#"
     × carafe.toml:3:1: an app must have `branch` or `commit`
      ╭─[3:1]
    2 │ branch = "main"
    3 │ [[app]]
      · ───┬───
      ·    ╰── here
    4 │ url = "https://git.example.com/a"
      ╰────
     help: add `branch` with a branch or a tag, or `commit`
    "#);
    assert_snapshot!(carafe_toml(""), @"
    × frappe: the branch of frappe is not set
    help: pass `--frappe-branch version-15`, or set FRAPPE_BRANCH, or `[frappe] branch` in carafe.toml
    ");
}

#[test]
fn reports_a_missing_file() {
    let demo = Demo::new();
    assert_snapshot!(error_output(&demo, 1, &["lock", "--spec", "missing.toml"]), @"
    × missing.toml: failed to read the file: No such file or directory (os error 2)
    help: check the path and its permissions
    ");
    assert_snapshot!(error_output(&demo, 1, APPS), @"
    × apps.json: failed to read the file: No such file or directory (os error 2)
    help: check the path and its permissions
    ");
}

#[test]
fn reports_a_variable_that_is_not_set() {
    let demo = Demo::new();
    let url = demo.git.replace("http://", "http://${GREETINGS_TOKEN}@") + "/greetings.git";
    demo.write("carafe.toml", &demo.spec(&format!("[[app]]\nurl = \"{url}\"\nbranch = \"main\"\n")));
    assert_snapshot!(error_output(&demo, 1, &["lock"]), @r#"
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
fn rejects_invalid_and_empty_base64() {
    let demo = Demo::new();
    let lock = |base64: &str| {
        let mut command = demo.carafe(&["lock"]);
        let output = command.env("APPS_JSON_BASE64", base64).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_snapshot!(lock("[{\"url\""), @"
    × APPS_JSON_BASE64: the value is not base64
    help: set it to the output of `base64 -w0 apps.json`
    ");
    assert_snapshot!(lock(""), @"
    × APPS_JSON_BASE64: the variable is set, but empty
    help: set it to the output of `base64 -w0 apps.json`, or unset it
    ");
    assert_snapshot!(lock("W10="), @"
     × APPS_JSON_BASE64: the list of apps is empty
      ╭────
    1 │ []
      · ─┬
      ·  ╰── here
      ╰────
     help: add an app; to build frappe alone, do not pass a list of apps
    ");
}

#[test]
fn rejects_text_that_is_not_ascii_with_its_position() {
    assert_snapshot!(apps_json("[é]"), @r#"
     × apps.json: expected value
      ╭────
    1 │ [é]
      ·  ┬
      ·  ╰── here
      ╰────
     help: an apps.json must be a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
    assert_snapshot!(apps_json("\u{feff}\"apps é"), @r#"
     × apps.json: EOF while parsing a string
      ╭────
    1 │ "apps é
      ·       ┬
      ·       ╰── here
      ╰────
     help: an apps.json must be a list: [{"url": "https://host/org/repo", "branch": "main"}]
    "#);
    assert_snapshot!(apps_json("[{\"é\": “main”}]"), @r#"
     × apps.json: expected value
      ╭────
    1 │ [{"é": “main”}]
      ·        ┬
      ·        ╰── here
      ╰────
     help: replace the quotation mark `“` by `"`
    "#);
    assert_snapshot!(carafe_toml("[frappe]\nbranch = “main”\n"), @r#"
     × carafe.toml:2:10: string values must be quoted, expected literal string
      ╭─[2:10]
    1 │ [frappe]
    2 │ branch = “main”
      ·          ───┬──
      ·             ╰── here
      ╰────
     help: replace the quotation mark `“` by `"`
    "#);
    let demo = Demo::new();
    std::fs::write(demo.path("apps.json"), b"\xff\xfe[\0]\0").unwrap();
    assert_snapshot!(error_output(&demo, 1, APPS), @"
    × apps.json: the text is UTF-16
    help: save it as UTF-8
    ");
}

#[test]
fn escapes_control_characters_of_an_unknown_key() {
    let demo = Demo::new();
    demo.write("carafe.toml", &format!("\"\\u001b[2J\\u001b]0;x\" = 1\n{}", demo.spec("")));
    let stderr = demo.fail(1, &["lock"]);
    assert!(stderr.contains("unknown field") && !stderr.contains('\u{1b}'), "{stderr:?}");
}
