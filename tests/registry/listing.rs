//! `docs/registry-faults.md` lists all rows of all tables. `CARAFE_WRITE_LISTING=1` writes it.

use std::fmt::Write;
use std::path::Path;

use crate::table::{CHUNK, Outcome, Row, SIZE};
use crate::{http2, pull_faults, push_faults, tokens};

/// The beginning of the file.
const HEAD: &str = "\
# Faults of registries, and the outcome of a push or a pull

Each line is a test of this name in `tests/registry/`. A registry in the process of the test has this fault in
one request over a real socket (once, if the name does not say otherwise). The layer has 12.5 MiB, which are
three chunks. *Sent again* is the maximum that the test accepts. After a failure no tag has moved.

The tests check this file. After a change, run
`CARAFE_WRITE_LISTING=1 cargo test --test registry listing`.
";

fn outcome(outcome: &Outcome) -> (String, String) {
    let again = |bytes: u64| match bytes {
        0 => "nothing".to_owned(),
        CHUNK => "a chunk".to_owned(),
        _ if bytes == SIZE as u64 => "the blob".to_owned(),
        _ if bytes.is_multiple_of(1 << 19) => format!("{} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{bytes} bytes"),
    };
    match outcome {
        Outcome::Succeeds(max) => ("succeeds".to_owned(), again(*max)),
        Outcome::Waits(seconds, max) => (format!("succeeds after the requested {seconds} s"), again(*max)),
        Outcome::TimesOut(max) => ("succeeds after a timeout".to_owned(), again(*max)),
        Outcome::Fails(words) => {
            let words: Vec<_> = words.iter().map(|words| format!("`{words}`")).collect();
            (format!("fails: {}", words.join(", ")), "-".to_owned())
        }
    }
}

fn listing(tables: &[(&str, &[Row])]) -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in tables {
        write!(text, "\n## {title}\n| fault | outcome | sent again |\n|---|---|---|\n").unwrap();
        for (name, expected) in *rows {
            let (outcome, again) = outcome(&expected());
            writeln!(text, "| {} | {outcome} | {again} |", name.replace('_', " ")).unwrap();
        }
    }
    text
}

#[test]
fn lists_every_fault() {
    let tables = [
        ("During a push", push_faults::PUSH),
        ("During a pull", pull_faults::PULL),
        ("During a token request", tokens::TOKENS),
        ("Over HTTP/2", http2::HTTP2),
    ];
    assert!(tables.iter().map(|(_, rows)| rows.len()).sum::<usize>() >= 60);
    let (text, path) =
        (listing(&tables), Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/registry-faults.md"));
    if std::env::var_os("CARAFE_WRITE_LISTING").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(current == text, "{} is out of date", path.display());
}
