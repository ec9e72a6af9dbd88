//! The file system that a step sees: the overlay, /dev, /proc, /tmp and what is bound into it.
//!
//! What comes from this machine is opened as detached mounts first; then the overlay becomes the
//! root, and only then are they attached. So every path inside is resolved beneath the new root,
//! whatever links a hostile build root holds.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsmount, fsopen, mount, mount_change, move_mount,
    open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::config::Bind;
use super::launcher_protocol::{Description, Setup, SetupError, Verb};

/// Directories and links in the scratch directory.
pub(super) mod scratch {
    pub const LOWER: &str = "lower";
    pub const UPPER: &str = "upper";
    pub const WORK: &str = "work";
    pub const MERGED: &str = "merged";
    pub const TMP: &str = "tmp";
}

/// Bound from this machine's /dev.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
];

/// A part of this machine's file system, not yet attached anywhere.
struct Detached {
    tree: OwnedFd,
    is_directory: bool,
    target: PathBuf,
}

/// Makes the new root and enters it. Must run in its own user, mount and PID namespace.
pub(super) fn enter(description: &Description) -> Result<(), SetupError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(SetupError::at(Setup::Propagation))?;
    let mut opened = open_all(description)?;
    opened.push(new_proc()?);
    mount_overlay(&description.scratch)?;
    change_root(&description.scratch.join(scratch::MERGED))?;
    make_dev(description.limits.memory)?;
    opened.iter().try_for_each(attach)?;
    close_proc()
}

fn open_all(description: &Description) -> Result<Vec<Detached>, SetupError> {
    let devices = DEVICES.map(|path| Bind { source: path.into(), target: path.into(), writable: true });
    let tmp = Bind { source: description.scratch.join(scratch::TMP), target: "/tmp".into(), writable: true };
    let mut opened = Vec::new();
    for bind in devices.iter().chain([&tmp]).chain(&description.binds) {
        opened.push(open(bind)?);
    }
    Ok(opened)
}

fn open(bind: &Bind) -> Result<Detached, SetupError> {
    let on = |error: io::Error| SetupError::on(Verb::Open, &bind.source)(error);
    let is_directory = fs::metadata(&bind.source).map_err(on)?.is_dir();
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &bind.source, flags).map_err(|error| on(error.into()))?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID;
    if !bind.source.starts_with("/dev") {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    if !bind.writable {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    restrict(&tree, attributes).map_err(on)?;
    Ok(Detached { tree, is_directory, target: bind.target.clone() })
}

/// Adds attributes to a mount and all beneath it. It only adds, so it cannot meet a flag that
/// the kernel has locked.
fn restrict(tree: &OwnedFd, attributes: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: mount_setattr reads an empty C string and a `mount_attr` of the size given; both
    // outlive the call, and the file descriptor is open.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a file inside read-only; as a mount point it can be neither replaced nor removed.
pub(super) fn seal(path: &Path) -> Result<(), SetupError> {
    attach(&open(&Bind { source: path.to_owned(), target: path.to_owned(), writable: false })?)
}

fn attach(bind: &Detached) -> Result<(), SetupError> {
    let create = || {
        if bind.is_directory {
            return fs::create_dir_all(&bind.target);
        }
        fs::create_dir_all(bind.target.parent().unwrap_or(Path::new("/")))?;
        fs::OpenOptions::new().append(true).create(true).open(&bind.target).map(drop)
    };
    if fs::metadata(&bind.target).map(|found| found.is_dir()).ok() != Some(bind.is_directory) {
        create().map_err(SetupError::on(Verb::Create, &bind.target))?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(&bind.tree, "", CWD, &bind.target, flags).map_err(SetupError::on(Verb::Mount, &bind.target))
}

/// Relative names, so that no character of a path can be taken for an option's end and no path is
/// too long for the kernel.
fn mount_overlay(scratch: &Path) -> Result<(), SetupError> {
    chdir(scratch).map_err(SetupError::on(Verb::Open, scratch))?;
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,userxattr,index=off";
    mount("overlay", scratch::MERGED, "overlay", MountFlags::NODEV, options)
        .map_err(SetupError::at(Setup::Overlay))
}

fn change_root(merged: &Path) -> Result<(), SetupError> {
    let change = || {
        chdir(merged)?;
        // The old root is put over the new one, and taken away: nothing has to be made for it.
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    };
    change().map_err(SetupError::at(Setup::Root))
}

fn make_dev(memory: Option<u64>) -> Result<(), SetupError> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_new("tmpfs", "/dev", no_exec, "mode=755,size=1m")?;
    // What lies there is memory, but of no process.
    let size = memory.map_or(String::new(), |bytes| format!(",size={bytes}"));
    mount_new("tmpfs", "/dev/shm", no_exec | MountFlags::NODEV, &format!("mode=1777{size}"))?;
    // Some containers have no devpts to offer. A build that needs a terminal is rare.
    if mount_new("devpts", "/dev/pts", no_exec, "newinstance,ptmxmode=0666,mode=620").is_ok() {
        link("pts/ptmx", "/dev/ptmx")?;
    }
    DEVICE_LINKS.iter().try_for_each(|(to, at)| link(to, at))
}

fn link(to: &str, at: &str) -> Result<(), SetupError> {
    symlink(to, at).map_err(SetupError::on(Verb::Create, Path::new(at)))
}

fn mount_new(kind: &str, target: &str, flags: MountFlags, options: &str) -> Result<(), SetupError> {
    let path = Path::new(target);
    fs::create_dir_all(path).map_err(SetupError::on(Verb::Create, path))?;
    let options = std::ffi::CString::new(options).map_err(SetupError::on(Verb::Mount, path))?;
    mount(kind, path, kind, flags, options.as_c_str()).map_err(SetupError::on(Verb::Mount, path))
}

/// A /proc of this PID namespace. The kernel gives one only to who sees one already, so it is made
/// before the root changes.
fn new_proc() -> Result<Detached, SetupError> {
    let new = || {
        let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&proc)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let tree = new().map_err(SetupError::at::<rustix::io::Errno>(Setup::Proc))?;
    Ok(Detached { tree, is_directory: true, target: "/proc".into() })
}

/// Closes what a user who is root outside could change or read in /proc: in some of it the kernel
/// asks for the user's id and not for capabilities.
fn close_proc() -> Result<(), SetupError> {
    let proc = Path::new("/proc");
    // This user may make no namespaces of its own: much of the kernel is only reached from one.
    // Where that is not known, no harm is done.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    for entry in fs::read_dir(proc).map_err(SetupError::on(Verb::Read, proc))?.flatten() {
        close_proc_entry(&entry.path())?;
    }
    Ok(())
}

fn close_proc_entry(path: &Path) -> Result<(), SetupError> {
    const ALL_READ: u32 = 0o444;
    const ANY_WRITE: u32 = 0o222;
    let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    let found = fs::symlink_metadata(path).map_err(SetupError::on(Verb::Open, path))?;
    if is_process || found.is_symlink() {
        return Ok(());
    }
    let mode = found.permissions().mode();
    let is_secret = !found.is_dir() && mode & ALL_READ != ALL_READ;
    if !is_secret && !found.is_dir() && mode & ANY_WRITE == 0 {
        return Ok(());
    }
    let source = if is_secret { Path::new("/dev/null") } else { path };
    attach(&open(&Bind { source: source.to_owned(), target: path.to_owned(), writable: false })?)
}
