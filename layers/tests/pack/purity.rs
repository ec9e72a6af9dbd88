//! The crate uses no network, process, clock or environment, so that only its arguments can affect a
//! digest.

use std::path::Path;

const FORBIDDEN: [&str; 11] = [
    "std::net",
    "std::process",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "env::var",
    "env::args",
    "env::current_dir",
    "env::temp_dir",
    "tokio",
];

fn violations(text: &str) -> Vec<&'static str> {
    FORBIDDEN.into_iter().filter(|word| text.contains(word)).collect()
}

#[test]
fn the_sources_use_nothing_outside_of_their_arguments() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut read = 0;
    for item in walkdir::WalkDir::new(sources) {
        let item = item.unwrap();
        if item.path().extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(item.path()).unwrap();
            assert_eq!(violations(&text), [""; 0], "{}", item.path().display());
            read += 1;
        }
    }
    assert!(read > 30, "only {read} files were read");
}

#[test]
fn finds_a_violation() {
    assert_eq!(violations("let now = std::time::Instant::now();"), ["Instant"]);
}
