//! Dropping the privileges of a step's process before it starts its program.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::seccomp;

/// Drops every privilege and everything inherited from this machine except the standard streams.
/// Must be called in the child, between fork and exec, with [`seccomp::filter`]. Allocates nothing.
pub(super) fn drop_all(filter: &[libc::sock_filter]) -> io::Result<()> {
    setsid()?;
    join_empty_keyring();
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no more capabilities; or an ordinary user without namespaces may not
            // drop them.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    set_no_new_privs(true)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    close_inherited()?;
    seccomp::apply(filter)
}

/// Leaves the session's keyring, which may have keys of the user who runs Carafe. This fails in
/// kernels and containers without keyrings, where there is none to leave.
fn join_empty_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: with a null name the call reads no memory.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
}

/// Marks all files but the standard streams close-on-exec: the process that started Carafe may have
/// left directories of this machine open in it.
fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: takes integers only, and closes nothing before exec.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
