//! Blocked requests and the messages about them.

use carafe_layers::digest::Digest;

use crate::hosts::Hosts;
use crate::world::World;

/// Keeps only some lines of the recording, and updates its digest in the lock.
fn edit_recording(world: &World, keep: impl Fn(&str) -> bool) {
    let recording = world.read("carafe.record");
    let kept: String = recording.split_inclusive('\n').filter(|line| keep(line)).collect();
    assert_ne!(kept, recording);
    let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
    let lock = world.read("carafe.lock").replace(&digest(&recording), &digest(&kept));
    std::fs::write(world.path("carafe.record"), kept).unwrap();
    std::fs::write(world.path("carafe.lock"), lock).unwrap();
}

#[test]
fn an_unrecorded_request_is_blocked_and_reported_with_its_process() {
    let (world, _) = World::recorded();
    edit_recording(&world, |line| !line.contains("lantern-1.0.0"));
    let stderr = world.fail(&["build"]);
    for part in [
        "GET https://files.pythonhosted.org/packages/lantern-1.0.0-py3-none-any.whl",
        "the recording has no response for it",
        "uv pip install",
        "carafe build --update",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[test]
fn a_bypass_is_blocked_and_reported_with_its_process() {
    let (world, recorded) = World::recorded();
    for stderr in [recorded.stderr, world.build(&[]).stderr] {
        for bypass in ["DNS telemetry.carafe.test: ", "TCP 192.0.2.7:443: "] {
            let report = stderr.lines().find(|line| line.contains(bypass));
            let report = report.unwrap_or_else(|| panic!("{bypass} is not in {stderr}"));
            assert!(report.contains("it bypassed the egress proxy") && report.contains("python"), "{report}");
        }
        assert!(stderr.contains("configure the program to use http_proxy and https_proxy"), "{stderr}");
    }
}

#[test]
fn the_404_of_a_refused_host_is_recorded() {
    let (world, recorded) = World::recorded();
    let recording = world.read("carafe.record");
    let line = recording.lines().find(|line| line.contains("https://optional.carafe.test/pyproject.toml"));
    assert!(line.is_some_and(|line| line.contains(r#""status":404"#)), "{recording}");
    // A replay uses the recorded response, not the spec.
    let spec = world.read("carafe.toml").replace("refused-hosts = [\"optional.carafe.test\"]\n", "");
    std::fs::write(world.path("carafe.toml"), spec).unwrap();
    assert_eq!(world.build(&["--offline"]).digest, recorded.digest);
}

#[test]
fn an_edited_or_missing_recording_is_an_error() {
    let (world, first) = World::recorded();
    let recording = world.read("carafe.record");
    std::fs::write(world.path("carafe.record"), recording.replace("lantern", "lantorn")).unwrap();
    let stderr = world.fail(&["build"]);
    assert!(stderr.contains("`carafe.record` is not the recording of the lock"), "{stderr}");
    // The cache has the recording too.
    std::fs::remove_file(world.path("carafe.record")).unwrap();
    assert_eq!(world.build(&[]).digest, first.digest);
    let unknown = world.read("carafe.lock").replace("record = \"sha256:", "record = \"sha256:0000");
    let unknown = unknown.lines().map(|line| match line.starts_with("record = ") {
        true => format!("{}\"", &line[..line.len() - 5]),
        false => line.to_owned(),
    });
    std::fs::write(world.path("carafe.lock"), unknown.collect::<Vec<_>>().join("\n")).unwrap();
    let stderr = world.fail(&["build"]);
    assert!(stderr.contains("failed to find the recording sha256:0000"), "{stderr}");
}

#[test]
fn locked_and_offline_builds_require_a_recording() {
    let world = World::new();
    for flag in ["--locked", "--offline"] {
        let stderr = world.fail(&["build", flag]);
        assert!(stderr.contains("has no recording") && stderr.contains("commit `carafe.lock`"), "{stderr}");
    }
    std::fs::remove_file(world.path("carafe.lock")).unwrap();
    let stderr = world.fail(&["build", "--offline"]);
    assert!(stderr.contains("no name can be resolved with `--offline`"), "{stderr}");
}

#[test]
fn a_rejected_token_and_an_unreachable_host_are_errors() {
    let world = World::new();
    let mut build = world.carafe(&["build"]);
    let output = build.env("INDEX_TOKEN", "idx-another").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("401"), "{stderr}");
    assert!(!world.path("carafe.record").exists(), "a failed build must not write a recording");

    let spec = world.read("carafe.toml");
    let elsewhere = Hosts::start().tables();
    let (own, _) = spec.split_once("[mirrors]").unwrap();
    std::fs::write(world.path("carafe.toml"), format!("{own}{elsewhere}")).unwrap();
    let stderr = world.fail(&["build"]);
    assert!(stderr.contains("failed to fetch") && stderr.contains("https://pypi.org/simple/"), "{stderr}");
    assert!(!world.path("carafe.record").exists());
}
