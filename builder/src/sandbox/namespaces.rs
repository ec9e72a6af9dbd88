//! Entering the namespaces.

use std::fs;

use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, set_thread_groups, unshare_unsafe};

use super::wire::{Setup, SetupError};

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

/// Brings the loopback interface of a new network namespace up.
pub(super) fn loopback_up() -> Result<(), SetupError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsRawFd;

    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(SetupError::at(Setup::Loopback))?;
    // SAFETY: all-zero bytes are a valid `ifreq`: it is made of integers and arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which outlives the call; the socket is open.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(SetupError::at(Setup::Loopback)(std::io::Error::last_os_error())),
    }
}
