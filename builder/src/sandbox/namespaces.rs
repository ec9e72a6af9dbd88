//! Entering the namespaces.

use std::fs;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, set_thread_groups, unshare_unsafe};

use super::launcher_protocol::{Setup, SetupError};

/// The only user and group there is inside.
pub(super) const ID: u32 = 1000;

/// The name of the machine inside.
const HOSTNAME: &[u8] = b"carafe";

/// Puts this process into a user, mount, IPC, UTS and network namespace, and its next child into a
/// PID namespace. Inside it is 1000:1000, whoever it is outside.
pub(super) fn enter() -> Result<(), SetupError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    // Only root may, and only root needs to: its groups would be seen inside as strangers.
    let _ = set_thread_groups(&[]);
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET;
    // SAFETY: without `FILES` no thread loses its file descriptors; there is one thread anyway.
    unsafe { unshare_unsafe(flags) }.map_err(SetupError::at(Setup::Namespaces))?;
    map("setgroups", "deny")?;
    map("uid_map", &format!("{ID} {uid} 1"))?;
    map("gid_map", &format!("{ID} {gid} 1"))?;
    rustix::system::sethostname(HOSTNAME).map_err(SetupError::at(Setup::Namespaces))
}

fn map(file: &str, content: &str) -> Result<(), SetupError> {
    fs::write(format!("/proc/self/{file}"), content).map_err(SetupError::at(Setup::IdMap))
}
