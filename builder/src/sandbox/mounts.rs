//! The file system of a step: the overlay, /dev, /proc, /tmp and the bind mounts.
//!
//! Files of this machine are opened as detached mounts first. Then the overlay becomes the root
//! directory, and after that the mounts are attached. So every path in the sandbox is resolved below
//! the new root, whatever symbolic links a hostile rootfs has.

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
use super::launcher_protocol::LaunchRequest;
use super::scratch;
use super::setup_error::{PathOperation, SetupError, SetupOperation};

/// Bind mounts from this machine's /dev.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Targets and paths of the symbolic links in /dev.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
];

/// A mount of a part of this machine's file system that is not attached anywhere yet.
struct DetachedMount {
    tree: OwnedFd,
    is_directory: bool,
    target: PathBuf,
}

/// Creates the new root directory and enters it. Must run in its own user, mount and PID namespace.
pub(super) fn enter(request: &LaunchRequest) -> Result<(), SetupError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(SetupError::at(SetupOperation::Propagation))?;
    let mut mounts = open_all(request)?;
    mounts.push(new_proc()?);
    mount_overlay(&request.scratch)?;
    change_root(&request.scratch.join(scratch::MERGED))?;
    make_dev(request.limits.memory)?;
    mounts.iter().try_for_each(attach)?;
    restrict_proc()
}

fn open_all(request: &LaunchRequest) -> Result<Vec<DetachedMount>, SetupError> {
    let devices = DEVICES.map(|path| Bind { source: path.into(), target: path.into(), writable: true });
    let tmp = Bind { source: request.scratch.join(scratch::TMP), target: "/tmp".into(), writable: true };
    let mut mounts = Vec::new();
    for bind in devices.iter().chain([&tmp]).chain(&request.binds) {
        mounts.push(open(bind)?);
    }
    Ok(mounts)
}

fn open(bind: &Bind) -> Result<DetachedMount, SetupError> {
    let failed = |error: io::Error| SetupError::on(PathOperation::Open, &bind.source)(error);
    let is_directory = fs::metadata(&bind.source).map_err(failed)?.is_dir();
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &bind.source, flags).map_err(|error| failed(error.into()))?;
    let mut attributes = libc::MOUNT_ATTR_NOSUID;
    if !bind.source.starts_with("/dev") {
        attributes |= libc::MOUNT_ATTR_NODEV;
    }
    if !bind.writable {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    add_attributes(&tree, attributes).map_err(failed)?;
    Ok(DetachedMount { tree, is_directory, target: bind.target.clone() })
}

/// Adds attributes to a mount and all mounts below it. It removes none, so a flag that the kernel has
/// locked cannot make it fail.
fn add_attributes(tree: &OwnedFd, attributes: u64) -> io::Result<()> {
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

/// Makes a file in the sandbox read-only. As a mount point it can neither be replaced nor removed.
pub(super) fn make_read_only(path: &Path) -> Result<(), SetupError> {
    attach(&open(&Bind { source: path.to_owned(), target: path.to_owned(), writable: false })?)
}

fn attach(mount: &DetachedMount) -> Result<(), SetupError> {
    let create = || {
        if mount.is_directory {
            return fs::create_dir_all(&mount.target);
        }
        fs::create_dir_all(mount.target.parent().unwrap_or(Path::new("/")))?;
        fs::OpenOptions::new().append(true).create(true).open(&mount.target).map(drop)
    };
    if fs::metadata(&mount.target).map(|metadata| metadata.is_dir()).ok() != Some(mount.is_directory) {
        create().map_err(SetupError::on(PathOperation::Create, &mount.target))?;
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(&mount.tree, "", CWD, &mount.target, flags)
        .map_err(SetupError::on(PathOperation::Mount, &mount.target))
}

/// Uses relative names, so that no character of a path can end an option and no path is too long for
/// the kernel.
fn mount_overlay(scratch: &Path) -> Result<(), SetupError> {
    chdir(scratch).map_err(SetupError::on(PathOperation::Open, scratch))?;
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,userxattr,index=off";
    mount("overlay", scratch::MERGED, "overlay", MountFlags::NODEV, options)
        .map_err(SetupError::at(SetupOperation::Overlay))
}

fn change_root(merged: &Path) -> Result<(), SetupError> {
    let change = || {
        chdir(merged)?;
        // Stacks the old root on the new one, and unmounts it: it needs no directory of its own.
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    };
    change().map_err(SetupError::at(SetupOperation::Root))
}

fn make_dev(memory: Option<u64>) -> Result<(), SetupError> {
    let no_exec = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_new("tmpfs", "/dev", no_exec, "mode=755,size=1m")?;
    // Files there use memory that is counted for no process, so the limit applies to them too.
    let size = memory.map_or(String::new(), |bytes| format!(",size={bytes}"));
    mount_new("tmpfs", "/dev/shm", no_exec | MountFlags::NODEV, &format!("mode=1777{size}"))?;
    // Some containers do not allow devpts. Builds that require a terminal are rare.
    if mount_new("devpts", "/dev/pts", no_exec, "newinstance,ptmxmode=0666,mode=620").is_ok() {
        link("pts/ptmx", "/dev/ptmx")?;
    }
    DEVICE_LINKS.iter().try_for_each(|(to, at)| link(to, at))
}

fn link(to: &str, at: &str) -> Result<(), SetupError> {
    symlink(to, at).map_err(SetupError::on(PathOperation::Create, Path::new(at)))
}

fn mount_new(kind: &str, target: &str, flags: MountFlags, options: &str) -> Result<(), SetupError> {
    let path = Path::new(target);
    fs::create_dir_all(path).map_err(SetupError::on(PathOperation::Create, path))?;
    let options = std::ffi::CString::new(options).map_err(SetupError::on(PathOperation::Mount, path))?;
    mount(kind, path, kind, flags, options.as_c_str()).map_err(SetupError::on(PathOperation::Mount, path))
}

/// A /proc of this PID namespace. The kernel allows one only where another is visible, so it is
/// created before the root directory changes.
fn new_proc() -> Result<DetachedMount, SetupError> {
    let new = || {
        let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&proc)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let tree = new().map_err(SetupError::at::<rustix::io::Errno>(SetupOperation::Proc))?;
    Ok(DetachedMount { tree, is_directory: true, target: "/proc".into() })
}

/// Restricts what a step can change or read in /proc if root runs Carafe: for some files the kernel
/// checks the user's id on the host and no capability.
fn restrict_proc() -> Result<(), SetupError> {
    let proc = Path::new("/proc");
    // The step may create no user namespace: much of the kernel's interface is available only in
    // one. A kernel without this limit does not affect the rest.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    for entry in fs::read_dir(proc).map_err(SetupError::on(PathOperation::Read, proc))?.flatten() {
        restrict_proc_entry(&entry.path())?;
    }
    Ok(())
}

fn restrict_proc_entry(path: &Path) -> Result<(), SetupError> {
    const READ_BITS: u32 = 0o444;
    const WRITE_BITS: u32 = 0o222;
    let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    let metadata = fs::symlink_metadata(path).map_err(SetupError::on(PathOperation::Open, path))?;
    if is_process || metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let is_secret = !metadata.is_dir() && mode & READ_BITS != READ_BITS;
    if !is_secret && !metadata.is_dir() && mode & WRITE_BITS == 0 {
        return Ok(());
    }
    let source = if is_secret { Path::new("/dev/null") } else { path };
    attach(&open(&Bind { source: source.to_owned(), target: path.to_owned(), writable: false })?)
}
