//! A lock that was edited by hand, or came with a stranger's pull request.

use std::fs;

use crate::demo::{Demo, shared_cache};

/// Locks, lets `edit` change the lock's text, and builds; returns what stderr says.
fn build_edited(edit: impl Fn(&str) -> String) -> (Demo, String) {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let lock = fs::read_to_string(demo.path("carafe.lock")).unwrap();
    let edited = edit(&lock);
    assert_ne!(lock, edited, "the edit changes something");
    demo.write("carafe.lock", &edited);
    let stderr = demo.fail(1, &["build", "--output", "image"]);
    (demo, stderr)
}

#[test]
fn a_name_cannot_lead_out_of_the_cache() {
    let outside = shared_cache().join("PWNED");
    let name = format!("name = \"{}\"", outside.display());
    let (demo, stderr) = build_edited(|lock| lock.replace("name = \"greetings\"", &name));
    assert!(stderr.contains("is no name of an app"), "{stderr}");
    assert!(!outside.with_extension("git").exists() && !demo.path("image").exists());
}

#[test]
fn what_the_commit_says_otherwise_is_refused() {
    for (from, to, word) in [
        ("name = \"greetings\"", "name = \"farewell\"", "name greetings instead of farewell"),
        ("branch = \"main\"", "branch = \"other\"", "moved away"),
        ("source-date-epoch = 1", "source-date-epoch = 2", "moved away"),
        ("reference = \"oci:", "reference = \"oci:/elsewhere", "moved away"),
        ("[build-image]", "[env]\nLD_PRELOAD = \"/tmp/x.so\"\n\n[build-image]", "moved away"),
    ] {
        let (_demo, stderr) = build_edited(|lock| lock.replacen(from, to, 1));
        assert!(stderr.contains(word), "{from}: {stderr}");
    }
}
