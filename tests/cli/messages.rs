//! What a run said, without what differs from machine to machine.

use std::path::Path;

use crate::demo::{Demo, bases, shared_cache};
use crate::variants;

/// Runs `carafe`, asserts that it ends with `code`, and returns what it said, for a snapshot.
pub fn complaint(demo: &Demo, code: i32, arguments: &[&str]) -> String {
    said(demo, &demo.fail(code, arguments))
}

/// `stderr` with names in the place of directories, addresses and digests.
pub fn said(demo: &Demo, stderr: &str) -> String {
    let shown = |path: &Path| path.display().to_string().trim_end_matches('/').to_owned();
    let mut text = stderr.to_owned();
    for (found, name) in [
        (shown(&demo.path("")), "[DIRECTORY]"),
        (shown(&bases()), "[BASES]"),
        (shown(shared_cache()), "[CACHE]"),
        (demo.git.replace("http://", ""), "[GIT]"),
        (variants::host().to_owned(), "[VARIANTS]"),
        (demo.registry.address().to_owned(), "[REGISTRY]"),
    ] {
        text = text.replace(&found, name);
    }
    name_ids(&text)
}

/// `[ID]` for each digest, commit and tree.
fn name_ids(text: &str) -> String {
    const MIN_SECRET_BYTES: usize = 40;
    let mut named = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_hexdigit).count();
        named.push_str(&rest[..start]);
        named.push_str(if length >= MIN_SECRET_BYTES { "[ID]" } else { &rest[start..start + length] });
        rest = &rest[start + length..];
    }
    named + rest
}
