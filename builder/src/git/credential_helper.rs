//! The user's git credential helper, run when a server requires a credential.

use std::io::Write;
use std::process::{Command, Stdio};

use super::remote::{Remote, Transport};
use crate::net::Credential;
use crate::secret::Secret;

/// The credential that git's configured helpers have for this repository. `None` without git,
/// without a helper, or if no helper has one. Never prompts. git runs with the user's own
/// configuration here, because that is where helpers are configured.
pub(super) fn fill(remote: &Remote) -> Option<Credential> {
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
    // A helper that does not read its input closes the pipe; its output is valid nevertheless.
    let _ = child.stdin.take()?.write_all(format!("url={}\n\n", remote.location()).as_bytes());
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| parse(&output.stdout))?
}

/// Parses `key=value` lines (`git help git-credential`).
fn parse(output: &[u8]) -> Option<Credential> {
    let text = std::str::from_utf8(output).ok()?;
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let password = value("password").filter(|password| !password.is_empty())?;
    let user = value("username").unwrap_or_default().to_owned();
    Some(Credential::Basic { user, password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requires_a_password() {
        let expected = Credential::Basic { user: "u".to_owned(), password: Secret::new("p=q") };
        assert_eq!(parse(b"protocol=https\nusername=u\npassword=p=q\n"), Some(expected));
        assert!(parse(b"username=u\n").is_none() && parse(b"username=u\npassword=\n").is_none());
        assert!(parse(b"").is_none() && parse(b"\xff").is_none());
    }
}
