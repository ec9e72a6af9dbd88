//! Credential helpers: programs named `docker-credential-…` that store logins for docker.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use crate::registry::error::server_message;

/// A helper that takes longer is killed: most likely it waits for input.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of an output. Tokens have a few kilobytes.
const MAX_OUTPUT_BYTES: u64 = 256 << 10;
/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a credential could not be looked up, without anything secret.
#[derive(Debug)]
pub(super) struct LookupError(pub(super) String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    username: String,
    secret: String,
}

/// The credential that `docker-credential-NAME` has under `key`, if any.
pub(super) fn get(name: &str, key: &str) -> Result<Option<Credential>, LookupError> {
    let program = format!("`docker-credential-{}`", server_message(name));
    if name.contains('/') {
        return Err(LookupError(format!("{program} is not the name of a helper")));
    }
    let child = start(name).map_err(|error| {
        LookupError(format!("its helper {program} could not be started: {error}; is it in PATH?"))
    })?;
    let Some((stdout, stderr, is_success)) = finish(child, key, TIMEOUT) else {
        return Err(LookupError(format!("its helper {program} did not end within {} s", TIMEOUT.as_secs())));
    };
    if !is_success {
        // The message of docker's own helpers for a missing entry. Any other stdout is not shown,
        // because it may contain the secret.
        return match stdout.contains("credentials not found") {
            true => Ok(None),
            false => Err(LookupError(format!("its helper {program} failed: {}", server_message(&stderr)))),
        };
    }
    let response: Response = serde_json::from_str(&stdout)
        .map_err(|_| LookupError(format!("the output of its helper {program} is malformed")))?;
    let secret = Secret::new(response.secret);
    Ok(Some(match response.username.as_str() {
        TOKEN_USER => Credential::IdentityToken(secret),
        _ => Credential::Basic { user: response.username, password: secret },
    }))
}

/// In its own process group, so that it can be killed with all its child processes.
fn start(name: &str) -> std::io::Result<Child> {
    Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Its stdout, its stderr, and whether it succeeded; `None` if it was killed after `timeout`.
fn finish(mut child: Child, key: &str, timeout: Duration) -> Option<(String, String, bool)> {
    let group = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let key = key.to_owned();
    thread::spawn(move || {
        // Some helpers do not read all of it. Their output is valid nevertheless.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(key.as_bytes()));
        let stdout = read(child.stdout.take());
        let stderr = read(child.stderr.take());
        let is_success = child.wait().is_ok_and(|status| status.success());
        let _ = sender.send((stdout, stderr, is_success));
    });
    let output = receiver.recv_timeout(timeout).ok();
    if output.is_none() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    output
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, timeout: Duration) -> Option<(String, String, bool)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap(), "key", timeout)
    }

    #[test]
    fn writes_the_key_to_stdin_and_reads_stdout() {
        assert_eq!(run("cat", TIMEOUT), Some(("key".into(), String::new(), true)));
        assert_eq!(run("echo no >&2; exit 1", TIMEOUT), Some((String::new(), "no\n".into(), false)));
    }

    /// Its child process is killed too: it has the same pipes open, and would block the test for ten minutes.
    #[test]
    fn kills_a_helper_that_does_not_end() {
        assert_eq!(run("sleep 600 & sleep 600", Duration::from_millis(50)), None);
    }

    #[test]
    fn the_error_names_a_missing_helper() {
        let LookupError(reason) = get("no-such-helper", "r.io").unwrap_err();
        assert!(reason.contains("docker-credential-no-such-helper") && reason.contains("PATH"), "{reason}");
        assert!(get("../x", "r.io").is_err());
    }
}
