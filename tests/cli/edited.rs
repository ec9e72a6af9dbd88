//! A lock that is edited by hand, or comes with an untrusted pull request.

use std::fs;

use crate::demo::{Demo, shared_cache};

/// Locks, edits the lock, and builds. Returns the stderr of the build, which must fail.
fn build_edited(edit: impl Fn(&str) -> String) -> (Demo, String) {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let lock = fs::read_to_string(demo.path("carafe.lock")).unwrap();
    let edited = edit(&lock);
    assert_ne!(lock, edited, "the edit has an effect");
    demo.write("carafe.lock", &edited);
    let stderr = demo.fail(1, &["build", "--output", "image"]);
    (demo, stderr)
}

#[test]
fn rejects_a_name_with_a_path() {
    let outside = shared_cache().join("PWNED");
    let name = format!("name = \"{}\"", outside.display());
    let (demo, stderr) = build_edited(|lock| lock.replace("name = \"greetings\"", &name));
    assert!(stderr.contains("is not a valid app name"), "{stderr}");
    assert!(!outside.with_extension("git").exists() && !demo.path("image").exists());
}

#[test]
fn rejects_a_lock_that_does_not_match_the_commit_or_the_spec() {
    for (from, to, part) in [
        ("name = \"greetings\"", "name = \"farewell\"", "its name is greetings, the lock has farewell"),
        ("branch = \"main\"", "branch = \"other\"", "out of date"),
        ("source-date-epoch = 1", "source-date-epoch = 2", "out of date"),
        ("reference = \"oci:", "reference = \"oci:/elsewhere", "out of date"),
        ("[build-image]", "[env]\nLD_PRELOAD = \"/tmp/x.so\"\n\n[build-image]", "out of date"),
    ] {
        let (_demo, stderr) = build_edited(|lock| lock.replacen(from, to, 1));
        assert!(stderr.contains(part), "{from}: {stderr}");
    }
}
