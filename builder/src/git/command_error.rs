//! The error that a failed run of the git binary means. `LC_ALL=C` keeps git's messages stable.

use super::command::GitOutput;
use super::error::GitError;
use super::remote::{Remote, Transport};

const NO_CREDENTIAL: [&str; 4] =
    ["Authentication failed", "could not read Username", "could not read Password", "error: 403"];
const NO_REPOSITORY: [&str; 5] = [
    "does not appear to be a git",
    "not a git repository",
    "is this a git",
    "' not found",
    "Repository not found",
];
const NO_CONNECTION: [&str; 5] =
    ["unable to access", "Could not resolve", "Connection refused", "timed out", "Network is unreachable"];
/// A server that requires authentication and accepted none of ssh's keys.
const SSH_DENIED: &str = "Permission denied (";
const SSH_HOST_KEY: &str = "Host key verification failed";
const SSH_NOT_FOUND: &str = "cannot run ssh";

/// `Ok` if git succeeded. `verb` is what was attempted, as in "failed to fetch from".
pub(super) fn check(remote: &Remote, verb: &'static str, output: &GitOutput) -> Result<(), GitError> {
    if output.success {
        return Ok(());
    }
    let (url, reason) = (remote.to_string(), output.stderr.clone());
    let server_message = output.server_message.clone();
    let has =
        |word: &&str| reason.contains(word) || server_message.as_ref().is_some_and(|m| m.contains(word));
    let has_any = |words: &[&str]| words.iter().any(has);
    let is_ssh = *remote.transport() == Transport::Ssh;
    let has_credential = remote.has_credential();
    Err(if is_ssh && reason.contains(SSH_HOST_KEY) {
        GitError::SshHostKey { url, reason }
    } else if is_ssh && reason.contains(SSH_DENIED) {
        GitError::SshKeyRejected { url, reason }
    } else if is_ssh && reason.contains(SSH_NOT_FOUND) {
        GitError::SshNotFound { url, reason }
    } else if has_any(&NO_CREDENTIAL) {
        match has_credential {
            true => GitError::CredentialRejected { url },
            false => GitError::CredentialMissing { url },
        }
    } else if has_any(&NO_REPOSITORY) {
        GitError::NotARepository { url, reason, authenticated: is_ssh || has_credential }
    } else if has_any(&NO_CONNECTION) {
        GitError::Unreachable { url, reason }
    } else {
        GitError::Failed { verb, url, reason, server_message }
    })
}

/// Whether the server does not offer the requested commit.
pub(super) fn is_unknown_commit(output: &GitOutput) -> bool {
    const WORDS: [&str; 3] = ["not our ref", "unadvertised object", "couldn't find remote ref"];
    !output.success && WORDS.iter().any(|word| output.stderr.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::Diagnostic;

    fn failure(url: &str, stderr: &str) -> GitError {
        let (stdout, stderr, server_message) = (Vec::new(), stderr.to_owned(), None);
        let output = GitOutput { stdout, stderr, server_message, success: false };
        check(&Remote::parse(url).unwrap(), "fetch from", &output).unwrap_err()
    }

    fn help(error: &GitError) -> String {
        error.help().unwrap().to_string()
    }

    #[test]
    fn ssh_failures_name_the_key_or_the_host_key() {
        const SSH: &str = "git@example.org:app.git";
        let rejected = failure(SSH, "git@example.org: Permission denied (publickey).; fatal: Could not read");
        assert!(matches!(rejected, GitError::SshKeyRejected { .. }) && help(&rejected).contains("ssh-agent"));
        let unknown = failure(SSH, "Host key verification failed.; fatal: Could not read from remote");
        assert!(matches!(unknown, GitError::SshHostKey { .. }) && help(&unknown).contains("known_hosts"));
        let changed =
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; Host key verification failed.; fatal: x";
        assert!(help(&failure(SSH, changed)).contains("differs"));
        let missing = failure(SSH, "error: cannot run ssh: No such file or directory; fatal: unable to fork");
        assert!(matches!(missing, GitError::SshNotFound { .. }));
        let refused = failure(SSH, "ssh: connect to host example.org port 22: Connection refused; fatal: x");
        assert!(matches!(refused, GitError::Unreachable { .. }));
    }

    #[test]
    fn a_full_disk_is_not_a_guess() {
        let aborted =
            failure("/srv/app.git", "fatal: early EOF; fatal: fetch-pack: invalid index-pack output");
        assert!(!help(&aborted).contains("disk"), "{}", help(&aborted));
        let full = failure("/srv/app.git", "fatal: write error: No space left on device");
        assert!(help(&full).contains("disk"), "{}", help(&full));
    }
}
