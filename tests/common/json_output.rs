//! The output of `--json`, validated against the schema in docs. Debian's `python3-jsonschema` validates.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Why the schema rejects an output; `None` if it is valid.
pub fn schema_errors(stdout: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), stdout).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/check-output");
    let output = Command::new(script).arg(file.path()).output().unwrap();
    match output.status.code() {
        Some(0) => None,
        Some(3) => Some(String::from_utf8(output.stdout).unwrap()),
        _ => panic!("check-output: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The result of a run, whose output must be valid.
#[track_caller]
pub fn result(stdout: &str) -> Value {
    assert_eq!(schema_errors(stdout), None, "{}", stdout.lines().last().unwrap_or_default());
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}
