//! Machines that do not allow a sandbox: the error names what blocks it.
//!
//! Each is made within a user namespace of its own; this machine's switches stay as they are.

use std::path::Path;
use std::process::{Command, ExitCode};

use carafe_builder::sandbox::{SandboxError, probe};

use crate::machine::{Directory, launcher};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_machine_that_allows_it_is_recognised", a_machine_that_allows_it_is_recognised),
        ("no_user_namespaces", no_user_namespaces),
        ("a_hidden_proc", a_hidden_proc),
        ("an_overlay_beneath", an_overlay_beneath),
        ("an_executable_that_is_no_launcher", an_executable_that_is_no_launcher),
    ]
}

const PROBE: &str = "__probe";

/// Probes, and prints what came of it, if this process was started for it.
pub fn is_probe() -> Option<ExitCode> {
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

/// What a probe says on a machine that `prepare` (a script) has changed. It may use `$1`, an
/// empty directory, and leave in `$scratch` the directory to try in.
fn probed_after(prepare: &str) -> String {
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

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts.iter().chain(&["--isolation=none"]) {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn a_machine_that_allows_it_is_recognised() {
    let directory = Directory::new();
    probe(&launcher(), &directory.0).unwrap();
    assert_eq!(probed_after("true"), "allowed");
}

fn no_user_namespaces() {
    let said = probed_after("echo 0 > /proc/sys/user/max_user_namespaces");
    assert_says(&said, &["failed to create namespaces", "No space left", "user.max_user_namespaces is 0"]);
}

fn a_hidden_proc() {
    let said = probed_after("mount -t tmpfs none /proc/sys");
    assert_says(&said, &["failed to mount a fresh /proc", "unmask=ALL"]);
}

fn an_overlay_beneath() {
    let prepare = "mkdir $1/l $1/u $1/w $1/m; \
                   mount -t overlay overlay -o lowerdir=$1/l,upperdir=$1/u,workdir=$1/w,userxattr $1/m; \
                   scratch=$1/m/scratch; mkdir $scratch";
    assert_says(&probed_after(prepare), &["failed to mount the overlay", "CARAFE_CACHE_DIR"]);
}

fn an_executable_that_is_no_launcher() {
    let directory = Directory::new();
    let error = probe(Path::new("/bin/true"), &directory.0).unwrap_err();
    assert!(matches!(error, SandboxError::Launcher { .. }), "{error:?}");
}
