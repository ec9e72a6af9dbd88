//! What is recorded, replayed and updated.

use crate::demo::shared_cache;
use crate::hosts::TOKENS;
use crate::world::{World, files, has, said};

#[test]
fn a_recording_is_replayed_when_every_host_is_gone() {
    let (mut world, first) = World::recorded();
    let lock = world.read("carafe.lock");
    assert!(lock.contains("\nrecord = \"sha256:"), "{lock}");
    let record = world.read("carafe.record");
    for address in [
        "https://pypi.org/simple/lantern/",
        "https://files.pythonhosted.org/packages/lantern-1.0.0-py3-none-any.whl",
        "https://registry.yarnpkg.com/wick",
        "https://tarballs.carafe.test/wax/1.0.0",
        "https://git.carafe.test/crew/shade.git/info/refs?service=git-upload-pack",
    ] {
        assert!(record.contains(address), "{address} is not in {record}");
    }
    assert!(!record.contains("127.0.0.1"), "{record}");

    world.hosts = None;
    for arguments in [&[][..], &["--offline"], &["--locked", "--offline"]] {
        let again = world.build(arguments);
        assert_eq!(again.digest, first.digest, "{}", again.stderr);
        assert_eq!((world.read("carafe.lock"), world.read("carafe.record")), (lock.clone(), record.clone()));
    }
    // The record alone, without what clients had left in their caches.
    std::fs::remove_dir_all(shared_cache().join("downloads-v2").join(digest_of(&lock))).unwrap();
    assert_eq!(world.build(&["--offline"]).digest, first.digest);
}

#[test]
fn a_lock_and_its_record_are_enough_elsewhere_after_new_releases() {
    let (world, first) = World::recorded();
    let record = world.read("carafe.record");
    assert!(record.contains(r#""last-modified":"Fri, 02 Jan 2026 00:00:01 GMT""#), "{record}");
    world.hosts().publish(&["python:lantern:1.1.0", "python:setuptools:99.1"]);
    let elsewhere = |arguments: &[&str], cache: &str| {
        let mut build = world.carafe(&[&["build"], arguments].concat());
        build.env("CARAFE_CACHE_DIR", world.path(cache));
        said(&mut build)
    };
    let again = elsewhere(&[], "cold");
    assert_eq!(again.digest, first.digest, "{}", again.stderr);
    assert_eq!(world.read("carafe.record"), record);
    // The releases were there to be had.
    elsewhere(&["--update"], "newest");
    assert!(has(&world.image(), "lantern 1.1.0,"));
}

/// The record's digest in a lock, as the cache names it.
fn digest_of(lock: &str) -> &str {
    lock.lines().find_map(|line| line.strip_prefix("record = \"sha256:")).unwrap().trim_end_matches('"')
}

#[test]
fn two_recordings_of_one_lock_are_the_same_to_the_byte() {
    let world = World::new();
    let other = World::new();
    std::fs::copy(world.path("carafe.lock"), other.path("carafe.lock")).unwrap();
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| world.build(&[]));
        (one.join().unwrap(), other.build(&[]))
    });
    assert_eq!(world.read("carafe.record"), other.read("carafe.record"));
    assert_eq!(one.digest, two.digest);
}

#[test]
fn what_is_new_upstream_is_taken_when_asked_for_and_said() {
    let (world, first) = World::recorded();
    world.hosts().publish(&["python:lantern:1.1.0", "npm:wick:1.0.1"]);
    assert_eq!(world.build(&[]).digest, first.digest);

    let lanterns = world.build(&["--update=lantern"]);
    assert!(has(&world.image(), "lantern 1.1.0, shade 1.0.0, wick and wax 1.0.0 1.0.0"));
    for change in [
        "changed: GET https://pypi.org/simple/lantern/",
        "new: GET https://files.pythonhosted.org/packages/lantern-1.1.0-py3-none-any.whl",
    ] {
        assert!(lanterns.stderr.contains(change), "{}", lanterns.stderr);
    }
    let is_change = |line: &&str| ["changed: ", "new: ", "gone: "].iter().any(|word| line.starts_with(word));
    let mut changes = lanterns.stderr.lines().filter(is_change);
    assert!(changes.all(|change| change.contains("lantern")), "{}", lanterns.stderr);

    world.build(&["--update"]);
    assert!(has(&world.image(), "lantern 1.1.0, shade 1.0.0, wick and wax 1.0.1 1.0.0"));
    let all = world.read("carafe.lock");
    world.build(&["--locked"]);
    assert_eq!(world.read("carafe.lock"), all);
}

#[test]
fn a_new_lock_keeps_the_packages_of_the_old_one() {
    let (world, first) = World::recorded();
    world.hosts().publish(&["python:lantern:1.1.0"]);
    let spec = world.read("carafe.toml").replace("[build]\n", "[build.env]\nCOLOUR = \"red\"\n[build]\n");
    std::fs::write(world.path("carafe.toml"), spec).unwrap();
    crate::demo::succeed(&mut world.carafe(&["lock", "--quiet"]));
    assert!(!world.read("carafe.lock").contains("record ="), "another environment is another build");
    assert_ne!(world.build(&[]).digest, first.digest);
    assert!(has(&world.image(), "lantern 1.0.0,"));
    // Nothing changed, so what is recorded still counts.
    let recorded = world.read("carafe.lock");
    crate::demo::succeed(&mut world.carafe(&["lock", "--quiet"]));
    assert_eq!(world.read("carafe.lock"), recorded);
}

#[test]
fn time_stands_still_and_no_token_is_seen_inside() {
    let (world, _) = World::recorded();
    let image = world.image();
    // The lock's epoch is the time of the only commit.
    assert!(has(&image, "\"date\": \"Mon, 05 Jan 2026 09:00:00 GMT\""), "what the app saw is in the image");
    assert!(has(&image, "\"http_proxy\": \"http://127.0.0.1:3128\""));
    let mut kept = vec![world.path("carafe.lock"), world.path("carafe.record")];
    for directory in ["logs-v1", "records-v1", "bodies-v1", "downloads-v2", "git-v1"] {
        files(&shared_cache().join(directory), &mut kept);
    }
    let kept: Vec<_> = kept.iter().map(|path| (path, std::fs::read(path).unwrap_or_default())).collect();
    assert!(kept.len() > 20, "there is something to look at");
    for (name, token) in TOKENS {
        assert!(!has(&image, token) && !has(&image, name), "{name} is in the image");
        let holding: Vec<_> =
            kept.iter().filter(|(_, bytes)| has(bytes, token)).map(|(path, _)| path).collect();
        assert!(holding.is_empty(), "{name} is in {holding:?}");
    }
}

#[test]
fn the_users_own_config_leads_to_a_mirror_too() {
    let (world, first) = World::recorded();
    let spec = world.read("carafe.toml");
    let (own, tables) = spec.split_once("[mirrors]").unwrap();
    std::fs::write(world.path("carafe.toml"), own).unwrap();
    std::fs::create_dir_all(world.path("config/carafe")).unwrap();
    std::fs::write(world.path("config/carafe/config.toml"), format!("[mirrors]{tables}")).unwrap();
    let again = said(&mut world.carafe(&["build", "--update"]));
    assert_eq!(again.digest, first.digest, "where it comes from is no part of what it is");
}
