//! Builds that fail, and builds on a full disk.

use std::path::Path;
use std::process::Command;

use crate::demo::Demo;
use crate::registry::{RegistryServer, Setup};
use crate::variants;

#[test]
fn a_failing_build_shows_the_end_and_the_path_of_its_log() {
    let demo = Demo::new();
    demo.write("carafe.toml", &demo.spec(&variants::app("broken", "main")));
    demo.run(&["lock", "--quiet"]);
    let stderr = demo.fail(1, &["build", "--quiet", "--output", "image"]);
    assert!(stderr.contains("failed to run step `bench build`: exit status 1"), "{stderr}");
    assert!(stderr.contains("greetings.bundle.js:1:8: ERROR: Expected identifier"), "{stderr}");
    assert!(!demo.path("image").exists());

    let log = stderr.split_once("the complete log is in `").expect("the path of the log").1;
    let log = std::fs::read_to_string(log.split('`').next().unwrap()).unwrap();
    let last = stderr.lines().find(|line| line.contains("ERROR: Expected identifier")).unwrap();
    assert!(log.contains(last.trim_start_matches(['│', ' '])), "{log}");
}

#[test]
fn fails_before_the_build_if_the_push_would_be_rejected() {
    let demo = Demo::new();
    let closed = RegistryServer::with(Setup { login: Some(("builder", "pass-3b8e")), ..Setup::default() });
    let (tag, address) = (closed.image("erp:1"), closed.address());
    let stderr = demo.fail(1, &["build", "--lock", "--push", "-t", &tag, "--insecure-registry", address]);
    assert!(
        stderr.contains(&format!("failed to push to {address}/erp: `{address}` requires other credentials")),
        "{stderr}"
    );
    assert!(!stderr.contains("fetch") && !demo.path("carafe.lock").exists(), "{stderr}");
}

#[test]
fn reports_a_full_disk_of_the_cache() {
    let demo = Demo::new();
    let full = demo.path("full");
    let mut carafe = demo.carafe(&["lock", "--quiet"]);
    carafe.env("CARAFE_CACHE_DIR", &full);
    let stderr = on_a_small_disk(&full, &carafe);
    assert!(stderr.contains(&format!("{}/roots-v1/", full.display())), "{stderr}");
    assert!(!demo.path("carafe.lock").exists());
}

#[test]
fn reports_a_full_disk_of_the_image() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let full = demo.path("full");
    let carafe = demo.carafe(&["build", "--quiet", "--output", full.join("image").to_str().unwrap()]);
    let stderr = on_a_small_disk(&full, &carafe);
    assert!(stderr.contains(&format!("{}/image", full.display())), "{stderr}");
}

/// Runs `command` with a file system of 1 MiB at `directory`, asserts that it fails because that is full, and returns
/// its stderr. It does not need root.
fn on_a_small_disk(directory: &Path, command: &Command) -> String {
    std::fs::create_dir(directory).unwrap();
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    inside.arg("mount -t tmpfs -o size=1m tmpfs \"$1\" && shift && exec \"$@\"").arg("sh").arg(directory);
    inside.arg(command.get_program()).args(command.get_args()).env_clear();
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = inside.current_dir(command.get_current_dir().unwrap()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("help: ") && stderr.contains("free space"), "{stderr}");
    stderr
}
