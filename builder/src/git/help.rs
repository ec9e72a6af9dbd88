//! Help texts of git errors. Each names a cause only where the error's own words show it.

use std::error::Error;
use std::io::{self, ErrorKind};

const DISK_FULL: &str =
    "free disk space in the cache directory, or set CARAFE_CACHE_DIR to a directory on another disk";

/// Whether one of the words is in the text, in upper or lower case.
fn has_any(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// For a server that no connection could be established to.
pub(super) fn for_connection(reason: &str) -> &'static str {
    const RESOLVER: [&str; 4] =
        ["could not resolve", "dns error", "failed to lookup address", "name or service not known"];
    if has_any(reason, &RESOLVER) {
        "check the host name in the URL and the DNS configuration of this machine; if the network requires \
         a proxy, set HTTPS_PROXY"
    } else if has_any(reason, &["connection refused"]) {
        "no server listens at this host and port: check the URL"
    } else if has_any(reason, &["certificate"]) && has_any(reason, &["expired", "not valid yet"]) {
        "check the clock of this machine and the validity of the server's certificate"
    } else if has_any(reason, &["certificate"]) {
        "if a private CA issued the server's certificate, set SSL_CERT_FILE to a file with the \
         certificates of that CA"
    } else if has_any(reason, &["timed out", "timeout"]) {
        "the server did not respond in time: check the URL and the firewall; if the network requires a \
         proxy, set HTTPS_PROXY"
    } else {
        "check the URL and the network; HTTPS_PROXY and NO_PROXY configure a proxy"
    }
}

/// For a failed operation on a remote repository. Only `reason` is evidence for a cause on this
/// machine: the server may write anything into its message.
pub(super) fn for_failure(url: &str, reason: &str, server_message: Option<&str>) -> String {
    const INTERRUPTED: [&str; 6] = [
        "early eof",
        "unexpected eof",
        "hung up",
        "connection reset",
        "failed to fill whole buffer",
        "unexpected end of file",
    ];
    const OVERLOADED: [&str; 4] = ["responded 429", "responded 5", "error: 429", "error: 5"];
    if has_any(reason, &["no space left on device", "disk quota exceeded"]) {
        DISK_FULL.to_owned()
    } else if has_any(reason, &["file too large", "died of signal 25"]) {
        "the pack exceeds the limit on the size of a repository, which protects against hostile input"
            .to_owned()
    } else if server_message.is_some() {
        "the git server aborted the operation: its operator can find the cause, for example with `git fsck`"
            .to_owned()
    } else if has_any(reason, &OVERLOADED) {
        "the failure may be temporary: try again later".to_owned()
    } else if has_any(reason, &INTERRUPTED) {
        "the connection ended before the response was complete: try again".to_owned()
    } else {
        format!("`git ls-remote {url}` on this machine may show more")
    }
}

/// For a failed operation on a repository in the cache.
pub(super) fn for_cache(source: &(dyn Error + 'static)) -> &'static str {
    let mut next = Some(source);
    while let Some(cause) = next {
        let Some(error) = cause.downcast_ref::<io::Error>() else {
            next = cause.source();
            continue;
        };
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => return DISK_FULL,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                return "make the cache directory writable for this user, or set CARAFE_CACHE_DIR to another one";
            }
            // `source` of an io::Error skips the error that it wraps.
            _ => next = error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        }
    }
    "if the failure persists, delete this directory: it is part of the cache and is fetched again"
}

/// For a file or directory that is not part of the cache.
pub(super) fn for_io(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::NotFound => "check that the path exists",
        ErrorKind::PermissionDenied => "check the permissions of the path",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free disk space there",
        _ => "check the path and its file system",
    }
}

/// For git itself, when it does not start.
pub(super) fn for_git_start(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::NotFound => {
            "install git (Debian: `apt-get install git`), and make sure that it is on PATH"
        }
        _ => "make sure that this user may execute the `git` that is on PATH",
    }
}

/// For an ssh server that cannot be authenticated.
pub(super) fn for_ssh_host_key(reason: &str) -> &'static str {
    if has_any(reason, &["host identification has changed"]) {
        "the host key differs from the one in ~/.ssh/known_hosts: verify the new key with the operator of \
         the host before you replace the entry"
    } else {
        "verify the fingerprint of the host key with the operator of the host, and add the key to \
         ~/.ssh/known_hosts: ssh runs without prompts here"
    }
}

/// For a name that does not exist; `similar` are names that do.
pub(super) fn for_unknown_ref(similar: &[String]) -> String {
    match similar {
        [] => "check the name; a commit ID belongs in `commit`".to_owned(),
        names => format!("similar names: `{}`", names.join("`, `")),
    }
}

/// For something that is not a repository.
pub(super) fn for_missing_repository(authenticated: bool) -> &'static str {
    if authenticated {
        "check the URL, and that the credential or ssh key may read the repository: some servers hide \
         private repositories this way"
    } else {
        "check the URL: `git ls-remote <url>` must list branches"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_cause_only_with_evidence() {
        let url = "https://host/app";
        assert!(!for_failure(url, "fatal: the remote end hung up unexpectedly", None).contains("disk"));
        assert!(for_failure(url, "fatal: write error: No space left on device", None).contains("disk"));
        assert!(!for_failure(url, "early EOF", Some("No space left on device")).contains("disk"));
        assert!(for_failure(url, "it broke", None).contains("git ls-remote https://host/app"));
        assert!(for_failure(url, "the server responded 503 Service Unavailable", None).contains("later"));
    }

    #[test]
    fn connection_failures_have_their_own_help() {
        for (reason, word) in [
            ("fatal: unable to access 'x': Could not resolve host: x", "DNS"),
            ("tcp connect error: Connection refused (os error 111)", "listens"),
            ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
            ("invalid peer certificate: certificate expired", "clock"),
            ("operation timed out", "in time"),
            ("something else", "the URL and the network"),
        ] {
            assert!(for_connection(reason).contains(word), "{reason}");
        }
    }

    #[test]
    fn a_full_disk_is_found_below_other_causes() {
        let full = io::Error::other(io::Error::from(ErrorKind::StorageFull));
        assert_eq!(for_cache(&full), DISK_FULL);
        assert!(for_cache(&io::Error::other("x")).contains("delete"));
    }
}
