//! Repositories that lack what the spec requires.

use std::net::TcpListener;

use insta::assert_snapshot;

use crate::demo::{Demo, TOKEN};
use crate::messages::error_output;
use crate::variants;

/// The error of `carafe lock` for a spec with this app.
fn with_app(app: impl FnOnce(&Demo) -> String) -> String {
    let demo = Demo::new();
    let app = app(&demo);
    demo.write("carafe.toml", &demo.spec(&app));
    let error = error_output(&demo, 1, &["lock", "--quiet"]);
    assert!(!demo.path("carafe.lock").exists());
    error
}

fn at(url: &str) -> String {
    format!("[[app]]\nurl = \"{url}\"\nbranch = \"main\"\n")
}

/// A port on which nothing listens: it was free a moment ago.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn an_unknown_branch() {
    assert_snapshot!(with_app(|demo| demo.app("greetings", "mian")), @r#"
     × carafe.toml:10:1: failed to find branch or tag `mian` in http://[GIT]/greetings.git
       ╭─[10:1]
     9 │ url = "http://*********************@[GIT]/greetings.git"
    10 │ branch = "mian"
       · ───┬──
       ·    ╰── here
    11 │ [build]
       ╰────
     help: similar names: `main`
    "#);
    assert_snapshot!(with_app(|demo| demo.app("greetings", "version-99")), @r#"
     × carafe.toml:10:1: failed to find branch or tag `version-99` in http://[GIT]/greetings.git
       ╭─[10:1]
     9 │ url = "http://*********************@[GIT]/greetings.git"
    10 │ branch = "version-99"
       · ───┬──
       ·    ╰── here
    11 │ [build]
       ╰────
     help: check the name; a commit ID belongs in `commit`
    "#);
}

#[test]
fn an_unknown_commit() {
    let commit = "0123456789".repeat(4);
    let app = |demo: &Demo| format!("[[app]]\nurl = \"{}\"\ncommit = \"{commit}\"\n", demo.url("greetings"));
    assert_snapshot!(with_app(app), @r#"
     × carafe.toml:10:1: failed to fetch commit [ID] from http://[GIT]/greetings.git: the server does not offer it
       ╭─[10:1]
     9 │ url = "http://*********************@[GIT]/greetings.git"
    10 │ commit = "[ID]"
       · ───┬──
       ·    ╰── here
    11 │ [build]
       ╰────
     help: a forced push may have removed it, or the server may not serve commits that no branch contains; `carafe lock` pins the current commit of the branch
    "#);
    assert_snapshot!(with_app(|demo| demo.app("greetings", "main") + &format!("commit = \"{commit}\"\n")), @r#"
     × carafe.toml:11:1: commit [ID] is not on `main` of http://[GIT]/greetings.git
       ╭─[11:1]
    10 │ branch = "main"
    11 │ commit = "[ID]"
       · ───┬──
       ·    ╰── here
    12 │ [build]
       ╰────
     help: check the commit; set `branch` to a branch that has it, or `off-branch = true` if this is intended
    "#);
}

#[test]
fn a_short_commit() {
    assert_snapshot!(with_app(|demo| demo.app("greetings", "main") + "commit = \"0123456\"\n"), @r#"
     × carafe.toml:11:1: failed to parse `0123456` as a commit ID: expected 40 lower-case hexadecimal digits
       ╭─[11:1]
    10 │ branch = "main"
    11 │ commit = "0123456"
       · ───┬──
       ·    ╰── here
    12 │ [build]
       ╰────
     help: `git rev-parse HEAD` in a clone prints the full commit ID
    "#);
}

#[test]
fn a_wrong_token() {
    const WRONG: &str = "wrong-8d1f0c";
    let error = with_app(|demo| demo.app("greetings", "main").replace(TOKEN, WRONG));
    assert!(!error.contains(WRONG), "{error}");
    assert_snapshot!(error, @r#"
     × carafe.toml:9:1: failed to open http://[GIT]/greetings.git: the server rejected the credential
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://***************@[GIT]/greetings.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: check that the token is valid, has not expired, and may read this repository
    "#);
}

#[test]
fn no_token() {
    assert_snapshot!(with_app(|demo| at(&format!("{}/greetings.git", demo.git))), @r#"
     × carafe.toml:9:1: failed to open http://[GIT]/greetings.git: the server requires a credential, or the repository does not exist
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://[GIT]/greetings.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: check the URL; for a private repository, add a token to the URL (https://user:${TOKEN}@host/…, from the environment variable TOKEN), or configure a git credential helper
    "#);
}

#[test]
fn a_host_without_a_server() {
    let port = closed_port();
    let error = with_app(|_| at(&format!("http://127.0.0.1:{port}/org/app.git")));
    assert_snapshot!(error.replace(&port.to_string(), "[PORT]"), @r#"
     × carafe.toml:9:1: failed to connect to http://127.0.0.1:[PORT]/org/app.git: client error (Connect): tcp connect error: Connection refused (os error 111)
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://127.0.0.1:[PORT]/org/app.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: no server listens at this host and port: check the URL
    "#);
}

#[test]
fn no_repository_at_the_url() {
    assert_snapshot!(with_app(|demo| demo.app("nothing", "main")), @r#"
     × carafe.toml:9:1: failed to find a git repository at http://[GIT]/nothing.git: the server responded 404 Not Found
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://*********************@[GIT]/nothing.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: check the URL, and that the credential or ssh key may read the repository: some servers hide private repositories this way
    "#);
    let error = with_app(|demo| at(&format!("http://{}/org/app.git", demo.registry.address())));
    assert_snapshot!(error, @r#"
     × carafe.toml:9:1: failed to find a git repository at http://[REGISTRY]/org/app.git: the server responded 404 Not Found
       ╭─[9:1]
     8 │ [[app]]
     9 │ url = "http://[REGISTRY]/org/app.git"
       · ─┬─
       ·  ╰── here
    10 │ branch = "main"
       ╰────
     help: check the URL: `git ls-remote <url>` must list branches
    "#);
}

#[test]
fn an_app_without_a_name() {
    let demo = Demo::new();
    demo.write("apps/shop/README.md", "no app\n");
    demo.write("carafe.toml", &demo.spec("[[app]]\npath = \"apps/shop\"\n"));
    assert_snapshot!(error_output(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:8:1: failed to find the app's name in pyproject.toml, setup.cfg or setup.py
      ╭─[8:1]
    7 │ branch = "main"
    8 │ [[app]]
      · ───┬───
      ·    ╰── here
    9 │ path = "apps/shop"
      ╰────
     help: check that the repository contains a frappe app: its pyproject.toml must have `name` in `[project]`
    "#);
    demo.write("carafe.toml", &demo.spec("[[app]]\npath = \"apps/gone\"\n"));
    assert_snapshot!(error_output(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:9:1: failed to use `apps/gone` as an app: No such file or directory (os error 2)
       ╭─[9:1]
     8 │ [[app]]
     9 │ path = "apps/gone"
       · ──┬─
       ·   ╰── here
    10 │ [build]
       ╰────
     help: check `path`; a relative path starts at the directory of the spec
    "#);
}

#[test]
fn two_apps_with_the_same_name() {
    assert_snapshot!(with_app(|demo| demo.app("greetings", "main") + &variants::app("twin", "main")), @r#"
     × carafe.toml:11:1: `http://[GIT]/greetings.git` and `http://[VARIANTS]/twin.git` have the same app name `greetings`
       ╭─[11:1]
    10 │ branch = "main"
    11 │ [[app]]
       · ───┬───
       ·    ╰── here
    12 │ url = "http://*********************@[VARIANTS]/twin.git"
       ╰────
     help: remove one of the two apps
    "#);
}
