//! One lock has one digest, for every user and directory.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::demo::{Demo, TOKEN, succeed};

const USER_ID: &str = "65533";

/// The digest in the last line of a build's output.
fn digest(stdout: &str) -> &str {
    stdout.trim_end().rsplit_once('@').unwrap().1
}

pub fn is_root() -> bool {
    succeed(Command::new("id").arg("-u")).trim() == "0"
}

#[test]
fn the_digest_is_independent_of_user_umask_time_zone_and_cache() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let first = demo.run(&["build", "--quiet", "--output", "first"]);

    let elsewhere = demo.path("elsewhere");
    std::fs::create_dir_all(elsewhere.join("home")).unwrap();
    for name in ["carafe.toml", "carafe.lock", "carafe.record"] {
        std::fs::copy(demo.path(name), elsewhere.join(name)).unwrap();
    }
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    if is_root() {
        // An ordinary user must be able to enter the parent directories.
        std::fs::set_permissions(demo.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        succeed(Command::new("chown").args(["-R", USER_ID]).arg(&elsewhere));
        command.args([
            "setpriv",
            &format!("--reuid={USER_ID}"),
            &format!("--regid={USER_ID}"),
            "--clear-groups",
        ]);
    }
    command.arg(env!("CARGO_BIN_EXE_carafe")).args(["build", "--quiet"]).current_dir(&elsewhere).env_clear();
    let keep = ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    command.envs(std::env::vars().filter(|(name, _)| keep.contains(&name.as_str())));
    command
        .env("XDG_CONFIG_HOME", demo.path("config"))
        .env("HOME", elsewhere.join("home"))
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "de_DE.UTF-8");
    let second = succeed(&mut command);
    assert_eq!(digest(&first), digest(&second));
}

#[test]
fn a_change_of_one_app_changes_only_its_layers() {
    let demo = Demo::new();
    let local = demo.path("apps/greetings");
    std::fs::create_dir_all(local.parent().unwrap()).unwrap();
    let source = crate::demo::root().join("examples/demo/apps/greetings");
    succeed(Command::new("cp").args(["-r", "--no-preserve=mode,ownership"]).arg(source).arg(&local));
    demo.write("carafe.toml", &demo.spec("[[app]]\npath = \"apps/greetings\"\n"));
    demo.run(&["lock", "--quiet"]);
    let layers = |json: &str| -> Vec<(String, String)> {
        let result: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        result["data"]["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(&one["name"]), text(&one["digest"])))
            .collect()
    };
    let before = layers(&demo.run(&["build", "--json", "--output", "before"]));

    demo.write("apps/greetings/greetings/word.py", "WORD = 'hello again'\n");
    let stderr = demo.fail(1, &["build", "--output", "after"]);
    assert!(stderr.contains("does not match the lock") && stderr.contains("carafe lock"), "{stderr}");
    demo.run(&["lock", "--quiet"]);
    let after = layers(&demo.run(&["build", "--json", "--output", "after"]));
    let changed: Vec<&str> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|((name, _), _)| name.as_str()).collect();
    assert!(changed.contains(&"apps/greetings"), "{changed:?}");
    for kept in ["env", "node_modules/frappe", "apps/frappe"] {
        assert!(!changed.contains(&kept), "{changed:?}");
    }
    assert!(!std::fs::read_to_string(demo.path("carafe.lock")).unwrap().contains(TOKEN));
}

#[test]
fn concurrent_builds_share_a_cold_cache_and_a_layout_accepts_a_second_image() {
    let demo = Demo::new();
    let cache = demo.path("cache");
    let run = |arguments: &[&str]| {
        let mut command = demo.carafe(arguments);
        command.env("CARAFE_CACHE_DIR", &cache);
        command
    };
    demo.run(&["lock", "--quiet"]);
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| succeed(&mut run(&["build", "--quiet", "--output", "first"])));
        let second = scope.spawn(|| succeed(&mut run(&["build", "--quiet", "--output", "second"])));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(digest(&first), digest(&second));

    demo.write("carafe.toml", &demo.spec(""));
    succeed(&mut run(&["lock", "--quiet"]));
    let other = succeed(&mut run(&["build", "--quiet", "--output", "first"]));
    assert_ne!(digest(&first), digest(&other));
    assert!(succeed(&mut run(&["inspect", "--json", "first"])).contains(digest(&other)));
}
