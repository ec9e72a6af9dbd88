//! Builds from a bundle, without any network.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::demo::{scratch, succeed};
use crate::registry::RegistryServer;
use crate::world::{Finished, World, finished};

/// An empty directory in place of another machine.
fn machine() -> tempfile::TempDir {
    tempfile::tempdir_in(scratch()).unwrap()
}

/// `carafe build --offline` in a network namespace without interfaces, with an empty cache, in an empty
/// directory: no spec, no lock, no recording.
fn build_without_network(world: &World, arguments: &[&str]) -> Finished {
    let machine = machine();
    let mut build =
        without_network(&world.carafe(&[&["build", "--offline"], arguments].concat()), machine.path());
    finished(&mut build)
}

/// The same command in a network namespace without interfaces, in `directory`, with its own cache.
fn without_network(command: &Command, directory: &Path) -> Command {
    let mut unshare = Command::new("unshare");
    // An ordinary user needs a user namespace too.
    let options = if rustix::process::geteuid().is_root() {
        &["--net"][..]
    } else {
        &["--user", "--map-current-user", "--net"]
    };
    unshare.args(options).arg("--").arg(command.get_program()).args(command.get_args());
    unshare.env_clear().current_dir(directory);
    unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    unshare.env("CARAFE_CACHE_DIR", directory.join("cache"));
    unshare
}

/// Runs `carafe bundle` and returns the bundle's digest.
fn bundle(world: &World, arguments: &[&str]) -> String {
    let stdout = succeed(&mut world.carafe(&[&["bundle"], arguments].concat()));
    stdout.trim_end().rsplit_once('@').expect("carafe bundle prints the digest").1.to_owned()
}

#[test]
fn a_bundle_builds_the_same_image_without_network() {
    let (mut world, first) = World::recorded();
    let directory = bundle(&world, &["-o", "erp"]);
    assert_eq!(
        bundle(&world, &["--tar", "erp.tar"]),
        directory,
        "both forms of the bundle must have the same digest"
    );
    world.hosts = None;
    for path in ["erp", "erp.tar"] {
        let path = world.path(path);
        let built = build_without_network(&world, &["--bundle", path.to_str().unwrap()]);
        assert_eq!(built.digest, first.digest, "{}", built.stderr);
    }
}

#[test]
fn builds_from_a_bundle_in_a_registry() {
    let (mut world, first) = World::recorded();
    let registry = RegistryServer::start();
    let (name, host) = (registry.image("bundles/erp:1"), registry.address().to_owned());
    let pushed = bundle(&world, &["--push", &name, "--insecure-registry", &host]);
    assert_eq!(pushed, bundle(&world, &["-o", "erp"]));
    world.hosts = None;
    let machine = machine();
    let mut build = world.carafe(&["build", "--offline", "--bundle", &name, "--insecure-registry", &host]);
    let built =
        finished(build.current_dir(machine.path()).env("CARAFE_CACHE_DIR", machine.path().join("cache")));
    assert_eq!(built.digest, first.digest, "{}", built.stderr);
}

#[test]
fn a_delta_bundle_has_the_new_blobs_and_requires_its_base() {
    let (mut world, _) = World::recorded();
    let base = bundle(&world, &["--tar", "sunday.tar"]);
    world.hosts().publish(&["npm:wick:1.0.1"]);
    let second = world.build(&["--update=wick"]);
    let complete = bundle(&world, &["--tar", "complete.tar"]);
    assert_eq!(bundle(&world, &["--tar", "monday.tar", "--delta-from", "sunday.tar"]), complete);
    let size = |name: &str| world.path(name).metadata().unwrap().len();
    assert!(size("monday.tar") < size("sunday.tar") / 100, "a delta bundle must not contain the images");
    world.hosts = None;

    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let machine = machine();
    let mut alone = without_network(
        &world.carafe(&["build", "--offline", "--bundle", &path("monday.tar")]),
        machine.path(),
    );
    let output = alone.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the bundle is a delta") && stderr.contains(&base), "{stderr}");

    let built =
        build_without_network(&world, &["--bundle", &path("monday.tar"), "--bundle", &path("sunday.tar")]);
    assert_eq!(built.digest, second.digest, "{}", built.stderr);
}

#[test]
fn a_bundle_lists_its_materials() {
    let (world, _) = World::recorded();
    bundle(&world, &["-o", "erp"]);
    let json: Value =
        serde_json::from_str(&succeed(&mut world.carafe(&["bundle", "--list", "erp", "--json"]))).unwrap();
    let listed: Vec<[&str; 3]> = json["data"]["materials"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|material| material["kind"] != "metadata")
        .map(|material| ["kind", "name", "version"].map(|key| material[key].as_str().unwrap_or("-")))
        .collect();
    for expected in [
        ["app", "frappe", "v1"],
        ["python", "lantern", "1.0.0"],
        ["node", "wick", "1.0.0"],
        ["git", "shade", "-"],
    ] {
        assert!(listed.contains(&expected), "{expected:?} is not in {listed:?}");
    }
    let text = succeed(&mut world.carafe(&["bundle", "--list", "erp"]));
    let wick = text.lines().find(|line| line.contains("registry.yarnpkg.com/wick/-/wick-1.0.0.tgz")).unwrap();
    assert!(wick.starts_with("node") && wick.contains("MIT"), "{text}");
}

#[test]
fn bundling_requires_a_recording() {
    let world = World::new();
    let stderr = world.fail(&["bundle"]);
    assert!(stderr.contains("the lock names no recording") && stderr.contains("carafe build"), "{stderr}");
}
