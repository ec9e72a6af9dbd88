//! Output of a run, without differences between machines.

use std::path::Path;

use crate::demo::{Demo, bases, shared_cache};
use crate::variants;

/// Runs `carafe`, asserts that its exit code is `code`, and returns its stderr for a snapshot.
pub fn error_output(demo: &Demo, code: i32, arguments: &[&str]) -> String {
    normalized(demo, &demo.fail(code, arguments))
}

/// Replaces directories, addresses and digests in `stderr` by names.
pub fn normalized(demo: &Demo, stderr: &str) -> String {
    let display = |path: &Path| path.display().to_string().trim_end_matches('/').to_owned();
    let mut text = stderr.to_owned();
    for (found, name) in [
        (display(&demo.path("")), "[DIRECTORY]"),
        (display(&bases()), "[BASES]"),
        (display(shared_cache()), "[CACHE]"),
        (demo.git.replace("http://", ""), "[GIT]"),
        (variants::host().to_owned(), "[VARIANTS]"),
        (demo.registry.address().to_owned(), "[REGISTRY]"),
    ] {
        text = text.replace(&found, name);
    }
    name_ids(&text)
}

/// Replaces each digest, commit and tree by `[ID]`.
fn name_ids(text: &str) -> String {
    const MIN_ID_DIGITS: usize = 40;
    let mut named = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_hexdigit).count();
        named.push_str(&rest[..start]);
        named.push_str(if length >= MIN_ID_DIGITS { "[ID]" } else { &rest[start..start + length] });
        rest = &rest[start + length..];
    }
    named + rest
}
