//! What a step's process gives up before it starts its program.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::seccomp;

/// Gives up every privilege, and everything inherited from this machine but the standard streams.
/// To be called in the child, between fork and exec, with [`seccomp::filter`]; it allocates nothing.
pub(super) fn give_up(filter: &[libc::sock_filter]) -> io::Result<()> {
    setsid()?;
    join_empty_keyring();
    // No capability bit beyond the last that this kernel knows can be asked for.
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last; or not ours to drop, without namespaces and as an ordinary user.
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

/// The session's keyring may hold keys of whoever runs carafe. Kernels and containers without
/// keyrings refuse, and then there is nothing to leave.
fn join_empty_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: with a null name the call reads no memory.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
}

/// Whoever started carafe may have left directories of this machine open in it.
fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    let (last, flags) = (libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: takes integers only, and closes nothing before exec.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
