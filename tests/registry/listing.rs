//! `docs/registry-faults.md` lists every row of every table. `CARAFE_WRITE_LISTING=1` writes it.

use std::fmt::Write;
use std::path::Path;

use crate::table::{CHUNK, Outcome, Row, SIZE};
use crate::{http2, pull_faults, push_faults, tokens};

/// Written by this test; it is the first lines of the file.
const HEAD: &str = "\
# What a registry may do to a push or a pull, and what comes of it

Each line is a test of this name in `tests/registry/`, against a registry in the test's process that does
this to one request over a real socket (where the name says no more: once). The layer has 12.5 MiB,
which are three chunks. *Again* is the most that the test lets be sent twice. After a failure no tag has moved.

This file is checked by the tests; after a change run
`CARAFE_WRITE_LISTING=1 cargo test --test registry listing`.
";

fn outcome(outcome: &Outcome) -> (String, String) {
    let again = |bytes: u64| match bytes {
        0 => "nothing".to_owned(),
        CHUNK => "a chunk".to_owned(),
        _ if bytes == SIZE as u64 => "the blob".to_owned(),
        _ => format!("{bytes} bytes"),
    };
    match outcome {
        Outcome::Done(most) => ("goes on".to_owned(), again(*most)),
        Outcome::Waits(seconds, most) => (format!("goes on after {seconds} s, as asked"), again(*most)),
        Outcome::TimesOut(most) => ("goes on after a time-out".to_owned(), again(*most)),
        Outcome::Fails(words) => {
            let words: Vec<_> = words.iter().map(|words| format!("`{words}`")).collect();
            (format!("fails: {}", words.join(", ")), "-".to_owned())
        }
    }
}

fn listing(tables: &[(&str, &[Row])]) -> String {
    let mut text = HEAD.to_owned();
    for (title, rows) in tables {
        write!(text, "\n## {title}\n| fault | outcome | again |\n|---|---|---|\n").unwrap();
        for (name, expected) in *rows {
            let (outcome, again) = outcome(&expected());
            writeln!(text, "| {} | {outcome} | {again} |", name.replace('_', " ")).unwrap();
        }
    }
    text
}

#[test]
fn every_fault_is_listed() {
    let tables = [
        ("While an image is pushed", push_faults::PUSH),
        ("While one is read", pull_faults::PULL),
        ("While a token is asked for", tokens::TOKENS),
        ("Over HTTP/2", http2::HTTP2),
    ];
    assert!(tables.iter().map(|(_, rows)| rows.len()).sum::<usize>() >= 60);
    let (text, path) =
        (listing(&tables), Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/registry-faults.md"));
    if std::env::var_os("CARAFE_WRITE_LISTING").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{} is not what the tests do", path.display());
}
