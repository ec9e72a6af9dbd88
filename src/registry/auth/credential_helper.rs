//! Credential helpers: programs named `docker-credential-…` that keep logins for docker.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use carafe_builder::secret::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use super::{Credential, Problem};
use crate::registry::error::scrub;

/// A helper that has not answered by then is ended: most likely it waits for a person.
const TIME: Duration = Duration::from_secs(30);
/// Tokens have a few kilobytes.
const MAX_ANSWER_BYTES: u64 = 256 << 10;
/// The user's name that marks an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What `docker-credential-NAME` has under `key`; none where it has nothing. It may take 30
/// seconds.
pub(super) fn ask(name: &str, key: &str) -> Result<Option<Credential>, Problem> {
    ask_within(name, key, TIME)
}

fn ask_within(name: &str, key: &str, time: Duration) -> Result<Option<Credential>, Problem> {
    let shown = format!("`docker-credential-{}`", scrub(name));
    if name.contains('/') {
        return Err(Problem(format!("{shown} is no name of a helper")));
    }
    let child = start(name)
        .map_err(|error| Problem(format!("its helper {shown} could not be run: {error}; is it in PATH?")))?;
    let (stdout, stderr, is_success) = finish(child, key, time)
        .ok_or_else(|| Problem(format!("its helper {shown} gave no answer within {} s", time.as_secs())))?;
    if !is_success {
        // The words of docker's own helpers for "no such entry". Otherwise stdout is not shown:
        // it may hold the secret.
        return match stdout.contains("credentials not found") {
            true => Ok(None),
            false => Err(Problem(format!("its helper {shown} failed: {}", scrub(&stderr)))),
        };
    }
    let answer: Answer = serde_json::from_str(&stdout)
        .map_err(|_| Problem(format!("the answer of its helper {shown} is malformed")))?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credential::IdentityToken(secret),
        _ => Credential::Password { user: answer.username, password: secret },
    }))
}

/// In a process group of its own, so that it can be ended with all that it started.
fn start(name: &str) -> std::io::Result<Child> {
    Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Its output and whether it succeeded; none if it was ended because its time was over.
fn finish(mut child: Child, key: &str, time: Duration) -> Option<(String, String, bool)> {
    let group = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let key = key.to_owned();
    thread::spawn(move || {
        // Some helpers do not read it to its end; their answer counts.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(key.as_bytes()));
        let stdout = read(child.stdout.take());
        let stderr = read(child.stderr.take());
        let is_success = child.wait().is_ok_and(|status| status.success());
        let _ = sender.send((stdout, stderr, is_success));
    });
    let answer = receiver.recv_timeout(time).ok();
    if answer.is_none() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    answer
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, time: Duration) -> Option<(String, String, bool)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap(), "key", time)
    }

    #[test]
    fn the_key_goes_in_and_the_answer_comes_out() {
        assert_eq!(run("cat", TIME), Some(("key".into(), String::new(), true)));
        assert_eq!(run("echo no >&2; exit 1", TIME), Some((String::new(), "no\n".into(), false)));
    }

    /// So does its child, which holds the same pipes: else this would last ten minutes.
    #[test]
    fn one_that_never_answers_is_ended() {
        assert_eq!(run("sleep 600 & sleep 600", Duration::from_millis(50)), None);
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let Problem(reason) = ask("no-such-helper", "r.io").unwrap_err();
        assert!(reason.contains("docker-credential-no-such-helper") && reason.contains("PATH"), "{reason}");
        assert!(ask("../x", "r.io").is_err());
    }
}
