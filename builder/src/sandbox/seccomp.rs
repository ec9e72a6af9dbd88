//! The seccomp filter: denies system calls that no build needs and that kernel exploits have used.

use std::io;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JUMP, BPF_K, BPF_LD, BPF_RET, BPF_STMT, BPF_W, c_long,
    sock_filter,
};

/// The denied system calls. They fail with EPERM, as they do in other containers, and programs
/// continue without them.
const DENIED: [c_long; 37] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    libc::SYS_vmsplice,
];

/// `AUDIT_ARCH_*` of this architecture: the ELF machine, 64 bits, little endian.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(libc::EM_X86_64 as u32 | 0xC000_0000)
} else if cfg!(target_arch = "aarch64") {
    Some(libc::EM_AARCH64 as u32 | 0xC000_0000)
} else {
    None
};

/// The filter that denies [`DENIED`] and every call with another architecture's numbers (i386, x32).
/// Empty for architectures without an [`ARCHITECTURE`].
pub(super) fn filter() -> Vec<sock_filter> {
    /// Offsets of the call's number and architecture in `seccomp_data`.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    /// The lowest number of an x32 call.
    const X32: u32 = 0x4000_0000;
    let Some(architecture) = ARCHITECTURE else { return Vec::new() };
    let load = |offset| statement(BPF_LD | BPF_W | BPF_ABS, offset);
    let deny = statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let mut filter = vec![
        load(ARCH),
        jump(BPF_JEQ, architecture, 1, 0),
        deny,
        load(NUMBER),
        jump(BPF_JGE, X32, 0, 1),
        deny,
    ];
    for number in DENIED {
        filter.extend([jump(BPF_JEQ, number as u32, 0, 1), deny]);
    }
    filter.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
    filter
}

/// Applies the filter to this process and all its descendants, permanently. The process must have
/// no_new_privs. Allocates nothing.
pub(super) fn apply(filter: &[sock_filter]) -> io::Result<()> {
    if filter.is_empty() {
        return Ok(());
    }
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is correct and which outlives the call,
    // and does not write to it.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn statement(code: u32, value: u32) -> sock_filter {
    // SAFETY: it only fills in a struct.
    unsafe { BPF_STMT(code as u16, value) }
}

/// Skips `if_true` instructions if the comparison holds, else `if_false`.
fn jump(comparison: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    // SAFETY: it only fills in a struct.
    unsafe { BPF_JUMP((BPF_JMP | comparison | BPF_K) as u16, value, if_true, if_false) }
}
