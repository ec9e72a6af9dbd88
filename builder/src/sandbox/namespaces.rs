//! Entering the namespaces.

use std::fs;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, set_thread_groups, unshare_unsafe};

use super::setup_error::{SetupError, SetupOperation};

/// The only user and group id in the sandbox.
pub(super) const ID: u32 = 1000;

/// The host name in the sandbox.
const HOSTNAME: &[u8] = b"carafe";

/// Moves this process into new user, mount, IPC, UTS and network namespaces, and its next child into
/// a new PID namespace. The id map maps the current user and group to 1000:1000.
pub(super) fn enter() -> Result<(), SetupError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    // Only root may do this, and only root must: its supplementary groups would be visible in the
    // sandbox as unmapped ones.
    let _ = set_thread_groups(&[]);
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET;
    // SAFETY: without `FILES` no thread loses its file descriptors; there is one thread anyway.
    unsafe { unshare_unsafe(flags) }.map_err(SetupError::at(SetupOperation::Namespaces))?;
    write_id_map("setgroups", "deny")?;
    write_id_map("uid_map", &format!("{ID} {uid} 1"))?;
    write_id_map("gid_map", &format!("{ID} {gid} 1"))?;
    rustix::system::sethostname(HOSTNAME).map_err(SetupError::at(SetupOperation::Namespaces))
}

fn write_id_map(file: &str, content: &str) -> Result<(), SetupError> {
    fs::write(format!("/proc/self/{file}"), content).map_err(SetupError::at(SetupOperation::IdMap))
}
