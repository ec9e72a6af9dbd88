//! Machines that do not allow a sandbox: the error names what blocks it.
//!
//! Each test simulates one in a user namespace of its own; the settings of this machine do not change.

use std::path::Path;
use std::process::{Command, ExitCode};

use carafe_builder::sandbox::{SandboxError, probe};

use crate::fixture::{Directory, launcher};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_machine_that_allows_a_sandbox_passes", a_machine_that_allows_a_sandbox_passes),
        ("names_a_limit_of_zero_user_namespaces", names_a_limit_of_zero_user_namespaces),
        ("names_a_masked_proc", names_a_masked_proc),
        ("names_a_scratch_directory_on_an_overlay", names_a_scratch_directory_on_an_overlay),
        ("rejects_an_executable_that_is_not_a_launcher", rejects_an_executable_that_is_not_a_launcher),
    ]
}

const PROBE: &str = "__probe";

/// Probes, and prints the result, if this process was started for it.
pub fn run_probe() -> Option<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [PROBE, scratch] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    match probe(&launcher(), Path::new(scratch)) {
        Ok(()) => println!("allowed"),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            println!("{error}: {}; {}", cause.unwrap_or_default(), miette::Diagnostic::help(&error).unwrap());
        }
    }
    Some(ExitCode::SUCCESS)
}

/// The output of a probe on a machine that `prepare` (a script) has changed. The script may use `$1`,
/// an empty directory, and set `$scratch` to the directory of the probe.
fn probe_after(prepare: &str) -> String {
    let directory = Directory::new();
    let script =
        format!("set -e; scratch=$1/scratch; mkdir $scratch; {prepare}; exec \"$2\" {PROBE} \"$scratch\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
        .args([&directory.0, &launcher()])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned() + &String::from_utf8(output.stderr).unwrap()
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts.iter().chain(&["--isolation=none"]) {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn a_machine_that_allows_a_sandbox_passes() {
    let directory = Directory::new();
    probe(&launcher(), &directory.0).unwrap();
    assert_eq!(probe_after("true"), "allowed");
}

fn names_a_limit_of_zero_user_namespaces() {
    let output = probe_after("echo 0 > /proc/sys/user/max_user_namespaces");
    assert_contains(
        &output,
        &["failed to create namespaces", "No space left", "user.max_user_namespaces is 0"],
    );
}

fn names_a_masked_proc() {
    let output = probe_after("mount -t tmpfs none /proc/sys");
    assert_contains(&output, &["failed to mount a new /proc", "unmask=ALL"]);
}

fn names_a_scratch_directory_on_an_overlay() {
    let prepare = "mkdir $1/l $1/u $1/w $1/m; \
                   mount -t overlay overlay -o lowerdir=$1/l,upperdir=$1/u,workdir=$1/w,userxattr $1/m; \
                   scratch=$1/m/scratch; mkdir $scratch";
    assert_contains(&probe_after(prepare), &["failed to mount the overlay", "CARAFE_CACHE_DIR"]);
}

fn rejects_an_executable_that_is_not_a_launcher() {
    let directory = Directory::new();
    let error = probe(Path::new("/bin/true"), &directory.0).unwrap_err();
    assert!(matches!(error, SandboxError::Launcher { .. }), "{error:?}");
}
