//! Recording, replay and update.

use crate::demo::shared_cache;
use crate::hosts::TOKENS;
use crate::world::{World, files, finished, has};

#[test]
fn a_recording_is_replayed_without_any_host() {
    let (mut world, first) = World::recorded();
    let lock = world.read("carafe.lock");
    assert!(lock.contains("\nrecord = \"sha256:"), "{lock}");
    let recording = world.read("carafe.record");
    for address in [
        "https://pypi.org/simple/lantern/",
        "https://files.pythonhosted.org/packages/lantern-1.0.0-py3-none-any.whl",
        "https://registry.yarnpkg.com/wick",
        "https://tarballs.carafe.test/wax/1.0.0",
        "https://git.carafe.test/crew/shade.git/info/refs?service=git-upload-pack",
    ] {
        assert!(recording.contains(address), "{address} is not in {recording}");
    }
    assert!(!recording.contains("127.0.0.1"), "{recording}");

    world.hosts = None;
    for arguments in [&[][..], &["--offline"], &["--locked", "--offline"]] {
        let again = world.build(arguments);
        assert_eq!(again.digest, first.digest, "{}", again.stderr);
        assert_eq!(
            (world.read("carafe.lock"), world.read("carafe.record")),
            (lock.clone(), recording.clone())
        );
    }
    // From the recording only, without the caches of pip, uv and yarn.
    std::fs::remove_dir_all(shared_cache().join("downloads-v2").join(digest_of(&lock))).unwrap();
    assert_eq!(world.build(&["--offline"]).digest, first.digest);
}

#[test]
fn lock_and_recording_are_sufficient_after_new_releases() {
    let (world, first) = World::recorded();
    let recording = world.read("carafe.record");
    assert!(recording.contains(r#""last-modified":"Fri, 02 Jan 2026 00:00:01 GMT""#), "{recording}");
    world.hosts().publish(&["python:lantern:1.1.0", "python:setuptools:99.1"]);
    let build_with_cache = |arguments: &[&str], cache: &str| {
        let mut build = world.carafe(&[&["build"], arguments].concat());
        build.env("CARAFE_CACHE_DIR", world.path(cache));
        finished(&mut build)
    };
    let again = build_with_cache(&[], "cold");
    assert_eq!(again.digest, first.digest, "{}", again.stderr);
    assert_eq!(world.read("carafe.record"), recording);
    // The new releases were available.
    build_with_cache(&["--update"], "newest");
    assert!(has(&world.image(), "lantern 1.1.0,"));
}

/// The recording's digest in a lock, as in file names of the cache.
fn digest_of(lock: &str) -> &str {
    lock.lines().find_map(|line| line.strip_prefix("record = \"sha256:")).unwrap().trim_end_matches('"')
}

#[test]
fn two_recordings_of_one_lock_are_equal() {
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
fn an_update_uses_new_releases_and_reports_changes() {
    let (world, first) = World::recorded();
    world.hosts().publish(&["python:lantern:1.1.0", "npm:wick:1.0.1"]);
    assert_eq!(world.build(&[]).digest, first.digest);

    let updated = world.build(&["--update=lantern"]);
    assert!(has(&world.image(), "lantern 1.1.0, shade 1.0.0, wick and wax 1.0.0 1.0.0"));
    for change in [
        "changed: GET https://pypi.org/simple/lantern/",
        "new: GET https://files.pythonhosted.org/packages/lantern-1.1.0-py3-none-any.whl",
    ] {
        assert!(updated.stderr.contains(change), "{}", updated.stderr);
    }
    let is_change =
        |line: &&str| ["changed: ", "new: ", "removed: "].iter().any(|change| line.starts_with(change));
    let mut changes = updated.stderr.lines().filter(is_change);
    assert!(changes.all(|change| change.contains("lantern")), "{}", updated.stderr);

    world.build(&["--update"]);
    assert!(has(&world.image(), "lantern 1.1.0, shade 1.0.0, wick and wax 1.0.1 1.0.0"));
    let all = world.read("carafe.lock");
    world.build(&["--locked"]);
    assert_eq!(world.read("carafe.lock"), all);
}

#[test]
fn a_new_lock_keeps_the_recorded_packages() {
    let (world, first) = World::recorded();
    world.hosts().publish(&["python:lantern:1.1.0"]);
    let spec = world.read("carafe.toml").replace("[build]\n", "[build.env]\nCOLOR = \"red\"\n[build]\n");
    std::fs::write(world.path("carafe.toml"), spec).unwrap();
    crate::demo::succeed(&mut world.carafe(&["lock", "--quiet"]));
    assert!(
        !world.read("carafe.lock").contains("record ="),
        "a different environment requires a new recording"
    );
    assert_ne!(world.build(&[]).digest, first.digest);
    assert!(has(&world.image(), "lantern 1.0.0,"));
    // Without a change, the lock keeps the recording.
    let recorded = world.read("carafe.lock");
    crate::demo::succeed(&mut world.carafe(&["lock", "--quiet"]));
    assert_eq!(world.read("carafe.lock"), recorded);
}

#[test]
fn the_date_is_constant_and_the_sandbox_has_no_token() {
    let (world, _) = World::recorded();
    let image = world.image();
    // The lock's epoch is the date of the only commit.
    assert!(
        has(&image, "\"date\": \"Mon, 05 Jan 2026 09:00:00 GMT\""),
        "the app writes the date into the image"
    );
    assert!(has(&image, "\"http_proxy\": \"http://127.0.0.1:3128\""));
    let mut kept = vec![world.path("carafe.lock"), world.path("carafe.record")];
    for directory in ["logs-v1", "records-v1", "bodies-v1", "downloads-v2", "git-v1"] {
        files(&shared_cache().join(directory), &mut kept);
    }
    let kept: Vec<_> = kept.iter().map(|path| (path, std::fs::read(path).unwrap_or_default())).collect();
    assert!(kept.len() > 20, "too few files to search");
    for (name, token) in TOKENS {
        assert!(!has(&image, token) && !has(&image, name), "{name} is in the image");
        let found: Vec<_> =
            kept.iter().filter(|(_, bytes)| has(bytes, token)).map(|(path, _)| path).collect();
        assert!(found.is_empty(), "{name} is in {found:?}");
    }
}

#[test]
fn mirrors_of_the_user_configuration_are_used() {
    let (world, first) = World::recorded();
    let spec = world.read("carafe.toml");
    let (spec, tables) = spec.split_once("[mirrors]").unwrap();
    std::fs::write(world.path("carafe.toml"), spec).unwrap();
    std::fs::create_dir_all(world.path("config/carafe")).unwrap();
    std::fs::write(world.path("config/carafe/config.toml"), format!("[mirrors]{tables}")).unwrap();
    let again = finished(&mut world.carafe(&["build", "--update"]));
    assert_eq!(again.digest, first.digest, "the image must not depend on the mirror");
}
