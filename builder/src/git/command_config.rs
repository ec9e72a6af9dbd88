//! The configuration that the git binary runs with.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use super::remote::{Remote, Transport};

/// No hooks, no prompts, no submodules, no garbage collection, no redirects after the first
/// request, an end to stalled connections, and only the protocols that are enabled below.
const BASE: &str = "\
[core]
	hooksPath = /dev/null
	askPass =
	fsmonitor = false
[transfer]
	fsckObjects = true
	unpackLimit = 1
[fetch]
	unpackLimit = 1
	recurseSubmodules = false
[submodule]
	recurse = false
[gc]
	auto = 0
[maintenance]
	auto = false
[http]
	followRedirects = initial
	lowSpeedLimit = 1000
	lowSpeedTime = 60
[credential]
	helper =
[protocol]
	version = 2
	allow = never
";

/// The configuration for one remote. `credential` is an open file with its credential.
pub(super) fn configuration(remote: &Remote, credential: Option<&OwnedFd>) -> String {
    let mut text = BASE.to_owned();
    let protocols: &[&str] = match remote.transport() {
        Transport::Http { .. } => &["https", "http"],
        Transport::Ssh => &["ssh"],
        Transport::File(_) => &["file"],
    };
    for protocol in protocols {
        text += &format!("[protocol \"{protocol}\"]\n\tallow = always\n");
    }
    match (remote.transport(), credential) {
        (Transport::File(path), _) => text += &safe_directories(path),
        // For this origin only, so that a redirect does not send the credential to another host.
        (Transport::Http { origin }, Some(file)) => {
            let fd = file.as_raw_fd();
            let helper = format!("!f() {{ test \"$1\" = get && cat /proc/self/fd/{fd}; }}; f");
            text += &format!("[credential {}]\n\thelper = {}\n", quoted(origin), quoted(&helper));
        }
        _ => {}
    }
    text
}

/// The user's spec names this directory, so any user may own it.
fn safe_directories(path: &Path) -> String {
    let path = path.to_string_lossy();
    let git_dir = format!("{}/.git", path.trim_end_matches('/'));
    format!("[safe]\n\tdirectory = {}\n\tdirectory = {}\n", quoted(&path), quoted(&git_dir))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
