//! Apps that require each other, and apps that are directories.

use std::process::Command;

use insta::assert_snapshot;

use crate::demo::{Demo, root, succeed};
use crate::messages::error_output;

#[test]
fn reports_a_missing_required_app() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&demo.app("farewell", "main")));
    assert_snapshot!(error_output(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:8:1: failed to order the apps: `farewell` requires `greetings`, which is not listed
      ╭─[8:1]
    7 │ branch = "main"
    8 │ [[app]]
      · ───┬───
      ·    ╰── here
    9 │ url = "http://*********************@[GIT]/farewell.git"
      ╰────
     help: apps are installed in the order of their list: add `greetings` before `farewell`; or, to omit it on purpose, set without-required = ["greetings"]
    "#);

    let omitted = demo.app("farewell", "main") + "without-required = [\"greetings\"]\n";
    demo.write("carafe.toml", &demo.spec(&omitted));
    demo.run(&["lock", "--quiet"]);
}

#[test]
fn reports_a_required_app_that_is_listed_too_late() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&(demo.app("farewell", "main") + &demo.app("greetings", "main"))));
    assert_snapshot!(error_output(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:8:1: failed to order the apps: `farewell` requires `greetings`, which is listed after it
      ╭─[8:1]
    7 │ branch = "main"
    8 │ [[app]]
      · ───┬───
      ·    ╰── here
    9 │ url = "http://*********************@[GIT]/farewell.git"
      ╰────
     help: apps are installed in the order of their list: move `greetings` before `farewell`
    "#);

    demo.write("carafe.toml", &demo.spec(&(demo.app("greetings", "main") + &demo.app("farewell", "main"))));
    demo.run(&["lock", "--quiet"]);
}

#[test]
fn locks_an_app_in_a_directory_next_to_the_spec() {
    let demo = Demo::new();
    let directory = demo.path("apps/greetings");
    std::fs::create_dir_all(directory.parent().unwrap()).unwrap();
    let source = root().join("examples/demo/apps/greetings");
    succeed(Command::new("cp").args(["-r", "--no-preserve=mode,ownership"]).arg(source).arg(&directory));
    demo.write("carafe.toml", &demo.spec("[[app]]\npath = \"apps/greetings\"\n"));
    demo.run(&["lock", "--quiet"]);
    let lock = std::fs::read_to_string(demo.path("carafe.lock")).unwrap();
    assert!(lock.contains("path = \"apps/greetings\""), "{lock}");
    assert!(!lock.contains(demo.path("").to_str().unwrap()), "{lock}");
}
