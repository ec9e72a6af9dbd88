//! The root directory and its content. Every path is opened with openat2, below the root.
//!
//! A layer's names may pass through symbolic links of lower layers (`/var/run -> /run`). They are
//! resolved here, link by link, to the one path without links (the *canonical* path), because
//! whiteouts must detect which entries are the same. Each step, and the result, is opened with
//! `RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS`, so that an error in this module cannot leave the root.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::fs::{UTIME_OMIT, fchmod, futimens, linkat, mkdirat, openat, openat2, readlinkat, statat};
use rustix::fs::{symlinkat, unlinkat, utimensat};
use rustix::io::Errno;

use super::paths::{join, names_reversed, split};

/// Maximum number of links followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Mode of an implicit directory, one without its own entry.
const IMPLICIT_MODE: Mode = Mode::from_raw_mode(0o755);

/// A path relative to the root: no leading slash, no `.`, no `..`, no links.
pub(super) type Canonical = Vec<u8>;

/// An open directory below the root.
pub(super) struct Directory {
    pub path: Canonical,
    fd: OwnedFd,
}

/// Limits on canonical paths.
#[derive(Clone, Copy)]
pub(super) struct PathLimits {
    pub bytes: usize,
    pub depth: usize,
}

/// The root, and the directory that was opened last.
pub(super) struct Tree {
    root: OwnedFd,
    limits: PathLimits,
    last: Option<(Vec<u8>, Rc<Directory>)>,
    /// Implicit directories that were created.
    implicit: Vec<Canonical>,
}

/// What to do if a directory does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Fail,
}

impl Tree {
    /// `root` must be an empty directory. The error is `Unsupported` if openat2 is not available.
    pub(super) fn new(root: &Path, limits: PathLimits) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())?;
        // System call filters return EPERM for unknown system calls.
        let listing = open_beneath(&root, b".", OFlags::RDONLY).map_err(|error| match error {
            Errno::NOSYS | Errno::PERM => io::Error::new(io::ErrorKind::Unsupported, error),
            _ => error.into(),
        })?;
        if !names_in(&listing)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        Ok(Self { root, limits, last: None, implicit: Vec::new() })
    }

    /// Opens the directory at `path`, following links. With [`Missing::Create`], creates it, its
    /// parents, and the targets of dangling links.
    pub(super) fn open(&mut self, path: &[u8], missing: Missing) -> io::Result<Rc<Directory>> {
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(directory));
        }
        let directory = match open_beneath(&self.root, path, OFlags::PATH) {
            Ok(fd) => Directory { path: path.to_vec(), fd },
            Err(Errno::NOENT | Errno::LOOP) => self.resolve(path, missing)?,
            Err(error) => return Err(error.into()),
        };
        let directory = Rc::new(directory);
        self.last = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// The directories that [`Self::open`] created since the last call.
    pub(super) fn take_implicit(&mut self) -> Vec<Canonical> {
        std::mem::take(&mut self.implicit)
    }

    /// Opens `path` name by name, following links as a process with this root would.
    fn resolve(&mut self, path: &[u8], missing: Missing) -> io::Result<Directory> {
        let mut pending: Vec<Vec<u8>> = names_reversed(path).map(<[u8]>::to_vec).collect();
        let mut directory = Directory { path: Canonical::new(), fd: self.root.try_clone()? };
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                directory = self.open_canonical(split(&directory.path).0.to_vec())?;
                continue;
            }
            let path = join(&directory.path, &name);
            self.check(&path)?;
            directory = match open_beneath(&self.root, &path, OFlags::PATH) {
                Ok(fd) => Directory { path, fd },
                Err(Errno::NOENT) if missing == Missing::Create => {
                    mkdirat(&directory.fd, name.as_slice(), IMPLICIT_MODE)?;
                    self.implicit.push(path.clone());
                    self.open_canonical(path)?
                }
                Err(Errno::LOOP) if links < MAX_LINKS => {
                    links += 1;
                    let target = readlinkat(&directory.fd, name.as_slice(), Vec::new())?.into_bytes();
                    pending.extend(names_reversed(&target).map(<[u8]>::to_vec));
                    let is_absolute = target.starts_with(b"/");
                    if is_absolute { self.open_canonical(Canonical::new())? } else { directory }
                }
                Err(error) => return Err(error.into()),
            };
        }
        Ok(directory)
    }

    fn open_canonical(&self, path: Canonical) -> io::Result<Directory> {
        let fd = open_beneath(&self.root, &path, OFlags::PATH)?;
        Ok(Directory { path, fd })
    }

    /// Checks the limits: links can make a path longer than the name of any entry.
    fn check(&self, path: &[u8]) -> io::Result<()> {
        let depth = path.iter().filter(|byte| **byte == b'/').count() + 1;
        if path.len() > self.limits.bytes || depth > self.limits.depth {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(())
    }

    /// Creates an empty file, writable only by its owner. Replaces what has this name.
    pub(super) fn create_file(&mut self, parent: &Directory, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.replace(parent, name, || openat(&parent.fd, name, flags, mode)).map(File::from)
    }

    /// Creates a symbolic link. Replaces what has this name.
    pub(super) fn create_symlink(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: &[u8],
    ) -> io::Result<()> {
        self.replace(parent, name, || symlinkat(target, &parent.fd, name))
    }

    /// Creates a hard link to `target`, or to the link itself if `target` is a symbolic link. Replaces
    /// what has this name.
    pub(super) fn create_hard_link(
        &mut self,
        parent: &Directory,
        name: &[u8],
        target: &[u8],
    ) -> io::Result<()> {
        let (above, target) = split(target);
        let above = self.open(above, Missing::Fail)?;
        let existing = statat(&above.fd, target, AtFlags::SYMLINK_NOFOLLOW)?;
        if let Ok(replaced) = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            && (replaced.st_dev, replaced.st_ino) == (existing.st_dev, existing.st_ino)
        {
            return Ok(());
        }
        self.replace(parent, name, || linkat(&above.fd, target, &parent.fd, name, AtFlags::empty()))
    }

    /// Creates a directory, or sets the mode of the existing one. Replaces what has this name and is
    /// not a directory.
    pub(super) fn create_directory(&mut self, parent: &Directory, name: &[u8], mode: Mode) -> io::Result<()> {
        if mkdirat(&parent.fd, name, IMPLICIT_MODE) == Err(Errno::EXIST) && !is_directory(parent, name)? {
            self.remove(parent, name)?;
            mkdirat(&parent.fd, name, IMPLICIT_MODE)?;
        }
        Ok(fchmod(open_child(parent, name)?, mode)?)
    }

    /// Sets the root's own mode.
    pub(super) fn set_root_mode(&self, mode: Mode) -> io::Result<()> {
        Ok(fchmod(open_beneath(&self.root, b".", OFlags::RDONLY)?, mode)?)
    }

    /// Sets the mtime of the directory at a canonical path, unless it was removed or replaced.
    pub(super) fn set_directory_mtime(&self, path: &[u8], mtime: i64) -> io::Result<()> {
        match open_beneath(&self.root, path, OFlags::RDONLY) {
            Ok(fd) => Ok(futimens(fd, &mtime_only(mtime))?),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what has this name, with its content.
    pub(super) fn remove(&mut self, parent: &Directory, name: &[u8]) -> io::Result<()> {
        // A directory or a link may be part of the path in `last`; a regular file cannot.
        if is_regular(parent, name)? {
            return Ok(unlinkat(&parent.fd, name, AtFlags::empty())?);
        }
        self.last = None;
        remove_all(parent, name)
    }

    /// Removes what has this name, with its content, except the paths in `kept`, which include the
    /// parents of all kept paths. Does nothing if the name does not exist.
    pub(super) fn hide(
        &mut self,
        parent: &Directory,
        name: &[u8],
        kept: &HashSet<Canonical>,
    ) -> io::Result<()> {
        let path = join(&parent.path, name);
        if !kept.contains(&path) {
            return ignore_missing(self.remove(parent, name));
        }
        if is_directory(parent, name)? {
            self.hide_children(&self.open_canonical(path)?, kept)?;
        }
        Ok(())
    }

    /// [`Self::hide`] for everything in `directory`.
    pub(super) fn hide_children(
        &mut self,
        directory: &Directory,
        kept: &HashSet<Canonical>,
    ) -> io::Result<()> {
        let listing = open_beneath(&self.root, &directory.path, OFlags::RDONLY)?;
        names_in(&listing)?.iter().try_for_each(|name| self.hide(directory, name, kept))
    }

    /// Calls `create`, and again after it has removed what has this name.
    fn replace<T>(
        &mut self,
        parent: &Directory,
        name: &[u8],
        create: impl Fn() -> Result<T, Errno>,
    ) -> io::Result<T> {
        match create() {
            Err(Errno::EXIST) => {
                self.remove(parent, name)?;
                Ok(create()?)
            }
            outcome => Ok(outcome?),
        }
    }
}

/// Sets a new file's mode and mtime.
pub(super) fn finish_file(file: &File, mode: Mode, mtime: i64) -> io::Result<()> {
    fchmod(file, mode)?;
    Ok(futimens(file, &mtime_only(mtime))?)
}

/// Sets a link's own mtime.
pub(super) fn set_link_mtime(parent: &Directory, name: &[u8], mtime: i64) -> io::Result<()> {
    Ok(utimensat(&parent.fd, name, &mtime_only(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn mtime_only(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

/// Opens a directory by its canonical path. The error is `LOOP` if the path contains a link.
fn open_beneath(root: &OwnedFd, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, access | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn open_child(parent: &Directory, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&parent.fd, name, flags, Mode::empty())
}

fn file_type(parent: &Directory, name: &[u8]) -> Result<FileType, Errno> {
    let stat = statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn is_directory(parent: &Directory, name: &[u8]) -> Result<bool, Errno> {
    Ok(file_type(parent, name)? == FileType::Directory)
}

fn is_regular(parent: &Directory, name: &[u8]) -> Result<bool, Errno> {
    Ok(file_type(parent, name)? == FileType::RegularFile)
}

fn remove_all(parent: &Directory, name: &[u8]) -> io::Result<()> {
    if !is_directory(parent, name)? {
        return Ok(unlinkat(&parent.fd, name, AtFlags::empty())?);
    }
    let directory = Directory { path: Canonical::new(), fd: open_child(parent, name)? };
    for name in names_in(&directory.fd)? {
        remove_all(&directory, &name)?;
    }
    Ok(unlinkat(&parent.fd, name, AtFlags::REMOVEDIR)?)
}

fn names_in(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
