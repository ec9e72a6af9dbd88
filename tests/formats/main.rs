//! Copies images between registries, layouts and archives, and checks the results with skopeo, umoci
//! and the JSON schemas of the image specification.

mod archives;
mod copying;
mod indexes;
#[path = "../common/json_output.rs"]
mod json_output;
mod multiple_registries;
mod referrers;
mod sample;
mod schemas;
#[path = "../common/registry.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A test directory in which `carafe` runs with its own cache.
struct TestDir(TempDir);

impl TestDir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `carafe` with a minimal environment, and with plain HTTP for every registry in the arguments.
    fn carafe(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
        command.args(arguments).current_dir(&self.0).env_clear().stdin(Stdio::null());
        let keep = ["PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        command.envs(std::env::vars().filter(|(name, _)| keep.contains(&name.as_str())));
        command.env("HOME", self.0.path()).env("CARAFE_CACHE_DIR", self.path("cache")).env("NO_COLOR", "1");
        let hosts = arguments.iter().filter_map(|argument| argument.split_once('/'));
        for (host, _) in hosts.filter(|(host, _)| host.starts_with("127.0.0.1:")) {
            command.args(["--insecure-registry", host]);
        }
        command.output().unwrap()
    }

    /// Runs `carafe`, asserts that it succeeds, and returns the data of its JSON result.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Value {
        let output = self.carafe(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        json_output::result(&text)["data"].clone()
    }

    /// Runs `carafe`, asserts that it exits with 1, and returns stdout and, joined to one line, stderr.
    #[track_caller]
    fn fail(&self, arguments: &[&str]) -> (String, String) {
        let output = self.carafe(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Runs another tool and returns its stdout.
#[track_caller]
fn run_tool(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{program} runs (scripts/setup-packages installs it): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The digest that skopeo computes for the image at `name`.
#[track_caller]
fn skopeo_digest(name: &str, directory: &Path) -> String {
    let raw = run_tool("skopeo", &["inspect", "--raw", "--tls-verify=false", name], directory);
    carafe_layers::digest::Digest::of(raw.as_bytes()).to_string()
}

/// The number of deliveries of this kind in a result.
fn deliveries(result: &Value, kind: &str) -> usize {
    let blobs = result["pushed"][0]["blobs"].as_array().unwrap();
    blobs.iter().filter(|blob| blob["delivery"] == kind).count()
}
