//! The user's own git credential helper, asked when a server wants a credential.

use std::io::Write;
use std::process::{Command, Stdio};

use super::remote::Transport;
use super::{Credential, Remote};
use crate::secret::Secret;

/// What git's configured helpers know about this repository; `None` when there is no git, no
/// helper or no answer. Never prompts. Runs with the user's own configuration: that is where the
/// helper is named.
pub(super) fn ask(remote: &Remote) -> Option<Credential> {
    let Transport::Http { .. } = remote.transport() else { return None };
    let mut child = Command::new("git")
        .args(["-c", "core.askPass=", "-c", "credential.interactive=false", "credential", "fill"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GCM_INTERACTIVE", "never")
        .env_remove("GIT_ASKPASS")
        .env_remove("SSH_ASKPASS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // A helper that does not read its input closes the pipe: its answer counts all the same.
    let _ = child.stdin.take()?.write_all(format!("url={}\n\n", remote.location()).as_bytes());
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| parse(&output.stdout))?
}

fn parse(answer: &[u8]) -> Option<Credential> {
    let text = std::str::from_utf8(answer).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let password = value("password").filter(|password| !password.is_empty())?;
    Credential::new(value("username").unwrap_or_default(), Secret::new(password)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_a_password() {
        let credential = parse(b"protocol=https\nusername=u\npassword=p=q\n").unwrap();
        assert_eq!((credential.username(), credential.password().expose()), ("u", "p=q"));
        assert!(parse(b"username=u\n").is_none() && parse(b"username=u\npassword=\n").is_none());
        assert!(parse(b"").is_none() && parse(b"\xff").is_none());
    }
}
