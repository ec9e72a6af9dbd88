//! Apps that stand on each other, and apps that are directories of this machine.

use std::process::Command;

use insta::assert_snapshot;

use crate::demo::{Demo, root, succeed};
use crate::messages::complaint;

#[test]
fn an_app_that_another_needs_is_missing() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&demo.app("farewell", "main")));
    assert_snapshot!(complaint(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:8:1: failed to order the apps: `farewell` needs `greetings`, which is not among the apps
      ╭─[8:1]
    7 │ branch = "main"
    8 │ [[app]]
      · ───┬───
      ·    ╰── here
    9 │ url = "http://*********************@[GIT]/farewell.git"
      ╰────
     help: apps are installed in the order of apps.json: add `greetings` before `farewell`; or, if it is left out on purpose: without-required = ["greetings"]
    "#);

    let on_purpose = demo.app("farewell", "main") + "without-required = [\"greetings\"]\n";
    demo.write("carafe.toml", &demo.spec(&on_purpose));
    demo.run(&["lock", "--quiet"]);
}

#[test]
fn an_app_that_another_needs_comes_too_late() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&(demo.app("farewell", "main") + &demo.app("greetings", "main"))));
    assert_snapshot!(complaint(&demo, 1, &["lock", "--quiet"]), @r#"
     × carafe.toml:8:1: failed to order the apps: `farewell` needs `greetings`, which comes after it
      ╭─[8:1]
    7 │ branch = "main"
    8 │ [[app]]
      · ───┬───
      ·    ╰── here
    9 │ url = "http://*********************@[GIT]/farewell.git"
      ╰────
     help: apps are installed in the order of apps.json: move `greetings` before `farewell`
    "#);

    demo.write("carafe.toml", &demo.spec(&(demo.app("greetings", "main") + &demo.app("farewell", "main"))));
    demo.run(&["lock", "--quiet"]);
}

#[test]
fn an_app_may_be_a_directory_beside_the_spec() {
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
