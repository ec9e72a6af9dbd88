//! A root folder and what is laid down in it: every path through openat2, beneath the root.
//!
//! A layer's names go through the links that lower layers made (`/var/run -> /run`). They are
//! resolved here, link by link, into the one path without links (*canonical*), because whiteouts
//! must know which entries are the same; each step, and the result, is opened with
//! `RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS`, so a mistake here could not leave the root.

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

/// Links followed on the way to one entry, as in the kernel.
const MAX_LINKS: usize = 40;

/// Mode of a folder that no entry describes, because only what is inside was named.
const IMPLIED_FOLDER: Mode = Mode::from_raw_mode(0o755);

/// Paths that are as they are seen from the root: no leading slash, no `.`, `..`, no links.
pub(super) type Canonical = Vec<u8>;

/// `folder/name`.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// A path's folder and last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A folder beneath the root.
pub(super) struct Folder {
    pub path: Canonical,
    fd: OwnedFd,
}

/// How far a path may go.
#[derive(Clone, Copy)]
pub(super) struct PathLimits {
    pub bytes: usize,
    pub depth: usize,
}

/// The root, and the folder that was asked for last.
pub(super) struct Tree {
    root: OwnedFd,
    limits: PathLimits,
    last: Option<(Vec<u8>, Rc<Folder>)>,
    /// Folders that were made because something in them was named.
    implied: Vec<Canonical>,
}

/// What to do about a folder that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Fail,
}

impl Tree {
    /// `root` must be an empty folder. `Unsupported` where there is no openat2.
    pub(super) fn open(root: &Path, limits: PathLimits) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())?;
        // Filters of system calls answer EPERM for those that they have never heard of.
        let listing = open_beneath(&root, b".", OFlags::RDONLY).map_err(|error| match error {
            Errno::NOSYS | Errno::PERM => io::Error::new(io::ErrorKind::Unsupported, error),
            _ => error.into(),
        })?;
        if !names_in(&listing)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        Ok(Self { root, limits, last: None, implied: Vec::new() })
    }

    /// The folder at `path`, through links; with [`Missing::Create`] also those above it, and
    /// what a dangling link points at.
    pub(super) fn folder(&mut self, path: &[u8], missing: Missing) -> io::Result<Rc<Folder>> {
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(folder));
        }
        let folder = match open_beneath(&self.root, path, OFlags::PATH) {
            Ok(fd) => Folder { path: path.to_vec(), fd },
            Err(Errno::NOENT | Errno::LOOP) => self.walk(path, missing)?,
            Err(error) => return Err(error.into()),
        };
        let folder = Rc::new(folder);
        self.last = Some((path.to_vec(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// The folders that [`Self::folder`] made since the last call.
    pub(super) fn take_implied(&mut self) -> Vec<Canonical> {
        std::mem::take(&mut self.implied)
    }

    /// Goes to `path` name by name, following links as a process with this root would.
    fn walk(&mut self, path: &[u8], missing: Missing) -> io::Result<Folder> {
        let mut pending: Vec<Vec<u8>> = names_reversed(path);
        let mut folder = Folder { path: Canonical::new(), fd: self.root.try_clone()? };
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                folder = self.folder_without_links(split(&folder.path).0.to_vec())?;
                continue;
            }
            let path = join(&folder.path, &name);
            self.check(&path)?;
            folder = match open_beneath(&self.root, &path, OFlags::PATH) {
                Ok(fd) => Folder { path, fd },
                Err(Errno::NOENT) if missing == Missing::Create => {
                    mkdirat(&folder.fd, name.as_slice(), IMPLIED_FOLDER)?;
                    self.implied.push(path.clone());
                    self.folder_without_links(path)?
                }
                Err(Errno::LOOP) if links < MAX_LINKS => {
                    links += 1;
                    let target = readlinkat(&folder.fd, name.as_slice(), Vec::new())?.into_bytes();
                    pending.extend(names_reversed(&target));
                    let absolute = target.starts_with(b"/");
                    if absolute { self.folder_without_links(Canonical::new())? } else { folder }
                }
                Err(error) => return Err(error.into()),
            };
        }
        Ok(folder)
    }

    fn folder_without_links(&self, path: Canonical) -> io::Result<Folder> {
        let fd = open_beneath(&self.root, &path, OFlags::PATH)?;
        Ok(Folder { path, fd })
    }

    /// Links can lead deeper than any entry's own name.
    fn check(&self, path: &[u8]) -> io::Result<()> {
        let depth = path.iter().filter(|byte| **byte == b'/').count() + 1;
        if path.len() > self.limits.bytes || depth > self.limits.depth {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(())
    }

    /// A new, empty file in place of whatever has this name, writable to its owner alone.
    pub(super) fn file(&mut self, folder: &Folder, name: &[u8]) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.replacing(folder, name, || openat(&folder.fd, name, flags, mode)).map(File::from)
    }

    /// A symbolic link in place of whatever has this name.
    pub(super) fn symlink(&mut self, folder: &Folder, name: &[u8], target: &[u8]) -> io::Result<()> {
        self.replacing(folder, name, || symlinkat(target, &folder.fd, name))
    }

    /// Another name of what is at `target`, which is not followed when it is a link itself.
    pub(super) fn hard_link(&mut self, folder: &Folder, name: &[u8], target: &[u8]) -> io::Result<()> {
        let (above, target) = split(target);
        let above = self.folder(above, Missing::Fail)?;
        let existing = statat(&above.fd, target, AtFlags::SYMLINK_NOFOLLOW)?;
        if let Ok(there) = statat(&folder.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            && (there.st_dev, there.st_ino) == (existing.st_dev, existing.st_ino)
        {
            return Ok(());
        }
        self.replacing(folder, name, || linkat(&above.fd, target, &folder.fd, name, AtFlags::empty()))
    }

    /// A folder of this name: the one that is there, or a new one in place of what is no folder.
    pub(super) fn directory(&mut self, folder: &Folder, name: &[u8], mode: Mode) -> io::Result<()> {
        if mkdirat(&folder.fd, name, IMPLIED_FOLDER) == Err(Errno::EXIST) && !is_directory(folder, name)? {
            self.remove(folder, name)?;
            mkdirat(&folder.fd, name, IMPLIED_FOLDER)?;
        }
        Ok(fchmod(open_child(folder, name)?, mode)?)
    }

    /// Sets the root's own mode.
    pub(super) fn set_root_mode(&self, mode: Mode) -> io::Result<()> {
        Ok(fchmod(open_beneath(&self.root, b".", OFlags::RDONLY)?, mode)?)
    }

    /// Sets the mtime of the folder at a canonical path, if it still is one.
    pub(super) fn set_folder_mtime(&self, path: &[u8], mtime: i64) -> io::Result<()> {
        match open_beneath(&self.root, path, OFlags::RDONLY) {
            Ok(fd) => Ok(futimens(fd, &mtime_only(mtime))?),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what has this name, with all that is in it.
    pub(super) fn remove(&mut self, folder: &Folder, name: &[u8]) -> io::Result<()> {
        // Whatever leads somewhere may be on the way to the folder that we remember.
        if is_regular(folder, name)? {
            return Ok(unlinkat(&folder.fd, name, AtFlags::empty())?);
        }
        self.last = None;
        remove_all(folder, name)
    }

    /// Removes what has this name and all that is in it, but not what is in `kept` nor the
    /// folders on the way there. Nothing of that name is fine.
    pub(super) fn hide(&mut self, folder: &Folder, name: &[u8], kept: &HashSet<Canonical>) -> io::Result<()> {
        let path = join(&folder.path, name);
        if !kept.contains(&path) {
            return ignore_missing(self.remove(folder, name));
        }
        if is_directory(folder, name)? {
            self.hide_children(&self.folder_without_links(path)?, kept)?;
        }
        Ok(())
    }

    /// [`Self::hide`] for everything in `folder`.
    pub(super) fn hide_children(&mut self, folder: &Folder, kept: &HashSet<Canonical>) -> io::Result<()> {
        let listing = open_beneath(&self.root, &folder.path, OFlags::RDONLY)?;
        names_in(&listing)?.iter().try_for_each(|name| self.hide(folder, name, kept))
    }

    fn replacing<T>(
        &mut self,
        folder: &Folder,
        name: &[u8],
        create: impl Fn() -> Result<T, Errno>,
    ) -> io::Result<T> {
        match create() {
            Err(Errno::EXIST) => {
                self.remove(folder, name)?;
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
pub(super) fn set_link_mtime(folder: &Folder, name: &[u8], mtime: i64) -> io::Result<()> {
    Ok(utimensat(&folder.fd, name, &mtime_only(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn mtime_only(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

/// Opens a folder by its canonical path; a link anywhere on the way is `LOOP`.
fn open_beneath(root: &OwnedFd, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, access | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn open_child(folder: &Folder, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&folder.fd, name, flags, Mode::empty())
}

fn file_type(folder: &Folder, name: &[u8]) -> Result<FileType, Errno> {
    let stat = statat(&folder.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn is_directory(folder: &Folder, name: &[u8]) -> Result<bool, Errno> {
    Ok(file_type(folder, name)? == FileType::Directory)
}

fn is_regular(folder: &Folder, name: &[u8]) -> Result<bool, Errno> {
    Ok(file_type(folder, name)? == FileType::RegularFile)
}

fn remove_all(folder: &Folder, name: &[u8]) -> io::Result<()> {
    if !is_directory(folder, name)? {
        return Ok(unlinkat(&folder.fd, name, AtFlags::empty())?);
    }
    let inner = Folder { path: Canonical::new(), fd: open_child(folder, name)? };
    for name in names_in(&inner.fd)? {
        remove_all(&inner, &name)?;
    }
    Ok(unlinkat(&folder.fd, name, AtFlags::REMOVEDIR)?)
}

fn names_in(folder: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn names_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
