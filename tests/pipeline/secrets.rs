//! A token in a URL authenticates to the repository, and is stored and shown nowhere.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::demo::{Demo, TOKEN};

/// Whether the file contains the token, as plain text or compressed with gzip.
fn contains_token(path: &Path) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    let mut plain = Vec::new();
    File::open(path).unwrap().read_to_end(&mut plain).unwrap();
    let mut inflated = Vec::new();
    let _ = flate2::read::MultiGzDecoder::new(plain.as_slice()).read_to_end(&mut inflated);
    contains(&plain) || contains(&inflated)
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Whether the command line of a process contains the token.
fn command_lines_contain_token() -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()))
}

#[test]
fn the_token_is_in_no_blob_no_lock_no_log_and_no_command_line() {
    let demo = Demo::new();
    let cache = demo.path("cache");
    let seen = AtomicBool::new(false);
    let running = AtomicBool::new(true);
    let outputs = std::thread::scope(|scope| {
        scope.spawn(|| {
            while running.load(Ordering::Relaxed) {
                seen.fetch_or(command_lines_contain_token(), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let runs =
            [vec!["lock"], vec!["build", "--output", "image"], vec!["build", "--json", "--output", "image"]];
        let outputs = runs.map(|arguments| {
            let mut command = demo.carafe(&arguments);
            command.env("CARAFE_CACHE_DIR", &cache).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.output().unwrap()
        });
        running.store(false, Ordering::Relaxed);
        outputs
    });
    for output in outputs {
        let mut text = output.stdout;
        text.extend(output.stderr);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert!(!seen.into_inner(), "a command line contained the token");
    let mut found = Vec::new();
    for name in [
        "image",
        "carafe.lock",
        "cache/git-v1",
        "cache/logs-v1",
        "cache/records-v1",
        "cache/bodies-v1",
        "cache/downloads-v2",
    ] {
        let path = demo.path(name);
        if path.is_dir() { files(&path, &mut found) } else { found.push(path) }
    }
    assert!(found.len() > 20, "the search has files to examine");
    let leaks: Vec<_> = found.iter().filter(|path| contains_token(path)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[test]
fn the_search_finds_a_compressed_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blob");
    let mut gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(format!("a tar with {TOKEN} in it").as_bytes()).unwrap();
    gzip.finish().unwrap();
    assert!(contains_token(&path));
}
