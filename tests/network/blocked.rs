//! What is refused, and what is said of it.

use carafe_layers::digest::Digest;

use crate::hosts::Hosts;
use crate::world::World;

/// Writes another record, with a lock that names it.
fn edit_record(world: &World, edit: impl Fn(&str) -> bool) {
    let record = world.read("carafe.record");
    let kept: String = record.split_inclusive('\n').filter(|line| edit(line)).collect();
    assert_ne!(kept, record);
    let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
    let lock = world.read("carafe.lock").replace(&digest(&record), &digest(&kept));
    std::fs::write(world.path("carafe.record"), kept).unwrap();
    std::fs::write(world.path("carafe.lock"), lock).unwrap();
}

#[test]
fn what_is_not_in_the_record_is_refused_with_who_asked() {
    let (world, _) = World::recorded();
    edit_record(&world, |line| !line.contains("lantern-1.0.0"));
    let stderr = world.fail(&["build"]);
    for part in [
        "GET https://files.pythonhosted.org/packages/lantern-1.0.0-py3-none-any.whl",
        "it is not in the record",
        "uv pip install",
        "carafe build --update",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[test]
fn who_goes_past_the_proxy_is_refused_and_named() {
    let (world, recorded) = World::recorded();
    for stderr in [recorded.stderr, world.build(&[]).stderr] {
        for wanted in ["DNS telemetry.carafe.test: ", "TCP 192.0.2.7:443: "] {
            let about = stderr.lines().find(|line| line.contains(wanted));
            let about = about.unwrap_or_else(|| panic!("nobody is named in {stderr}"));
            assert!(about.contains("it went past the proxy") && about.contains("python"), "{about}");
        }
        assert!(stderr.contains("must honour http_proxy and https_proxy"), "{stderr}");
    }
}

#[test]
fn a_host_that_the_build_does_without_is_in_the_record() {
    let (world, recorded) = World::recorded();
    let record = world.read("carafe.record");
    let asked = record.lines().find(|line| line.contains("https://optional.carafe.test/pyproject.toml"));
    assert!(asked.is_some_and(|line| line.contains(r#""status":404"#)), "{record}");
    // Not the wish but the answer that was recorded counts.
    let spec = world.read("carafe.toml").replace("refused-hosts = [\"optional.carafe.test\"]\n", "");
    std::fs::write(world.path("carafe.toml"), spec).unwrap();
    assert_eq!(world.build(&["--offline"]).digest, recorded.digest);
}

#[test]
fn a_record_that_was_edited_or_lost_is_named() {
    let (world, first) = World::recorded();
    let record = world.read("carafe.record");
    std::fs::write(world.path("carafe.record"), record.replace("lantern", "lantorn")).unwrap();
    let stderr = world.fail(&["build"]);
    assert!(stderr.contains("`carafe.record` is not the recording of the lock"), "{stderr}");
    // The cache has it too.
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
fn without_a_record_nothing_is_locked_and_nothing_is_offline() {
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
fn a_token_that_is_not_taken_is_an_answer_and_a_host_that_is_away_none() {
    let world = World::new();
    let mut refused = world.carafe(&["build"]);
    let output = refused.env("INDEX_TOKEN", "idx-another").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("401"), "{stderr}");
    assert!(!world.path("carafe.record").exists(), "a build that failed records nothing");

    let spec = world.read("carafe.toml");
    let elsewhere = Hosts::start().tables();
    let (own, _) = spec.split_once("[mirrors]").unwrap();
    std::fs::write(world.path("carafe.toml"), format!("{own}{elsewhere}")).unwrap();
    let stderr = world.fail(&["build"]);
    assert!(stderr.contains("failed to fetch") && stderr.contains("https://pypi.org/simple/"), "{stderr}");
    assert!(!world.path("carafe.record").exists());
}
