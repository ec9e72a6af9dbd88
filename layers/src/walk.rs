//! From folders on disk to a sorted list of entries.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

use crate::mtime::MtimePolicy;
use crate::path::{ImagePath, ImagePathError, shown};
use crate::tree::{Entry, EntryKind, Graft};

/// An image may get at most this many entries: ten times the largest bench we know. It bounds
/// the memory of the list (about 200 bytes an entry).
pub const MAX_ENTRIES: usize = 1_000_000;

const OWNER_MAY_EXECUTE: u32 = 0o100;

/// Why a tree could not be listed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WalkError {
    /// A folder or a file's metadata could not be read.
    #[error("failed to read `{}`", shown(path))]
    Read {
        /// On this machine.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A socket, a fifo or a device.
    #[error(
        "failed to pack `{}`: it is a {kind}, and an image holds only folders, files and links",
        shown(path)
    )]
    #[diagnostic(help(
        "remove it from the tree; a build leaves none behind unless something still runs in it"
    ))]
    Special {
        /// On this machine.
        path: PathBuf,
        /// `socket`, `fifo`, `device`.
        kind: &'static str,
    },
    /// A name that cannot be in an image.
    #[error("failed to pack `{}`", shown(host))]
    Path {
        /// On this machine.
        host: PathBuf,
        /// Why.
        #[source]
        source: ImagePathError,
    },
    /// Two grafts claim one path.
    #[error("failed to pack `{path}`: both `{}` and `{}` go there", shown(first), shown(second))]
    Collision {
        /// In the image.
        path: ImagePath,
        /// On this machine.
        first: PathBuf,
        /// On this machine.
        second: PathBuf,
    },
    /// A path lies below something that is no folder.
    #[error("failed to pack `{}` as `{path}`: what is above it in the image is no folder", shown(host))]
    NotBelowFolder {
        /// In the image.
        path: ImagePath,
        /// On this machine.
        host: PathBuf,
    },
    /// More entries than [`MAX_ENTRIES`].
    #[error("failed to pack `{}`: more than {MAX_ENTRIES} entries", shown(path))]
    TooMany {
        /// The graft that went over the limit.
        path: PathBuf,
    },
}

/// Lists what the grafts hold: every folder, file and symbolic link (never followed), sorted by
/// the raw bytes of the path in the image.
///
/// Folders that several grafts share (same owner) are listed once; anything else claimed twice is
/// an error. Owner, mode bits, times, link counts and extended attributes on disk are not read,
/// but for the owner's execute bit.
pub fn walk(grafts: &[Graft], mtimes: &MtimePolicy) -> Result<Vec<Entry>, WalkError> {
    let mut entries: BTreeMap<ImagePath, Entry> = BTreeMap::new();
    for graft in grafts {
        let graft = Arc::new(graft.clone());
        for item in WalkDir::new(&graft.host).follow_links(false).follow_root_links(false) {
            let entry = entry(&graft, item.map_err(|error| walk_error(&graft.host, error))?, mtimes)?;
            add(&mut entries, entry)?;
            if entries.len() > MAX_ENTRIES {
                return Err(WalkError::TooMany { path: graft.host.clone() });
            }
        }
    }
    if grafts.len() > 1 {
        entries.values().try_for_each(|entry| check_above(&entries, entry))?;
    }
    Ok(entries.into_values().collect())
}

fn add(entries: &mut BTreeMap<ImagePath, Entry>, entry: Entry) -> Result<(), WalkError> {
    let Some(first) = entries.get(&entry.path) else {
        entries.insert(entry.path.clone(), entry);
        return Ok(());
    };
    if first.is_directory() && entry.is_directory() && first.graft.owner == entry.graft.owner {
        return Ok(());
    }
    Err(WalkError::Collision { path: entry.path.clone(), first: first.host(), second: entry.host() })
}

fn check_above(entries: &BTreeMap<ImagePath, Entry>, entry: &Entry) -> Result<(), WalkError> {
    let above = entry.path.to_path();
    let blocked = above.ancestors().skip(1).any(|folder| {
        let above = ImagePath::new(folder).ok().and_then(|path| entries.get(&path));
        above.is_some_and(|above| !above.is_directory())
    });
    if blocked {
        return Err(WalkError::NotBelowFolder { path: entry.path.clone(), host: entry.host() });
    }
    Ok(())
}

fn entry(graft: &Arc<Graft>, item: DirEntry, mtimes: &MtimePolicy) -> Result<Entry, WalkError> {
    // walkdir yields paths that start with the root it was given.
    let below = item.path().strip_prefix(&graft.host).unwrap_or(Path::new(""));
    let path =
        graft.image.join(below).map_err(|source| WalkError::Path { host: item.path().to_owned(), source })?;
    let kind = kind(&item)?;
    let mtime = match kind {
        EntryKind::Directory => mtimes.of_directory(),
        EntryKind::File { .. } | EntryKind::Symlink { .. } => mtimes.of_file(&path),
    };
    Ok(Entry { path, kind, mtime, graft: graft.clone() })
}

fn kind(item: &DirEntry) -> Result<EntryKind, WalkError> {
    let file_type = item.file_type();
    if file_type.is_dir() {
        Ok(EntryKind::Directory)
    } else if file_type.is_symlink() {
        let target = fs::read_link(item.path()).map_err(|error| read_error(item.path(), error))?;
        Ok(EntryKind::Symlink { target: target.into_os_string().into_vec().into() })
    } else if file_type.is_file() {
        let metadata = item.metadata().map_err(|error| walk_error(item.path(), error))?;
        let executable = metadata.permissions().mode() & OWNER_MAY_EXECUTE != 0;
        Ok(EntryKind::File { size: metadata.len(), executable })
    } else {
        Err(WalkError::Special { path: item.path().to_owned(), kind: special(file_type) })
    }
}

fn special(file_type: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_socket() {
        "socket"
    } else if file_type.is_fifo() {
        "fifo"
    } else {
        "device"
    }
}

fn walk_error(root: &Path, error: walkdir::Error) -> WalkError {
    let path = error.path().unwrap_or(root).to_owned();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("the tree loops"));
    WalkError::Read { path, source }
}

fn read_error(path: &Path, source: io::Error) -> WalkError {
    WalkError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FIXED_MTIME;
    use crate::tree::Owner;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    const POLICY: MtimePolicy = MtimePolicy { default: 5, rules: Vec::new() };

    fn graft(host: &Path, image: &str) -> Graft {
        let owner = Owner { uid: 1000, gid: 1000 };
        Graft { host: host.to_owned(), image: ImagePath::new(image).unwrap(), owner }
    }

    #[test]
    fn lists_a_tree_in_byte_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/x"), "12345").unwrap();
        fs::write(dir.path().join("a-b"), "").unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        let entries = walk(&[graft(dir.path(), "/srv/b")], &POLICY).unwrap();
        let paths: Vec<String> = entries.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths, ["srv/b", "srv/b/a", "srv/b/a-b", "srv/b/a/x", "srv/b/link"]);
        assert_eq!(entries[3].kind, EntryKind::File { size: 5, executable: false });
        assert_eq!((entries[1].mtime, entries[3].mtime), (FIXED_MTIME, 5));
        assert_eq!(entries[3].host(), dir.path().join("a/x"));
        assert_eq!(entries[4].kind, EntryKind::Symlink { target: Arc::from(&b"/nowhere"[..]) });
    }

    #[test]
    fn grafts_a_single_file_and_a_link_to_a_folder_as_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("start"), "#!").unwrap();
        symlink(dir.path(), dir.path().join("loop")).unwrap();
        let grafts = [graft(&dir.path().join("start"), "bin/start.sh"), graft(&dir.path().join("loop"), "l")];
        let entries = walk(&grafts, &POLICY).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].host(), dir.path().join("start"));
        assert!(matches!(entries[1].kind, EntryKind::Symlink { .. }));
    }

    #[test]
    fn refuses_what_an_image_cannot_hold() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(dir.path().join("s")).unwrap();
        let error = walk(&[graft(dir.path(), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().contains("it is a socket"), "{error}");
        fs::remove_file(dir.path().join("s")).unwrap();
        let _socket = UnixListener::bind(dir.path().join("\x1b[2J")).unwrap();
        let error = walk(&[graft(dir.path(), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().contains("\\u{1b}[2J`: it is a socket"), "{error}");
        let error = walk(&[graft(&dir.path().join("missing"), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().ends_with("missing`"), "{error}");
    }

    #[test]
    fn grafts_may_share_folders_and_nothing_else() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("a"), "").unwrap();
        fs::create_dir(two.path().join("b")).unwrap();
        let grafts = [graft(one.path(), "x"), graft(two.path(), "x")];
        assert_eq!(walk(&grafts, &POLICY).unwrap().len(), 3);
        fs::write(two.path().join("a"), "").unwrap();
        assert!(matches!(walk(&grafts, &POLICY), Err(WalkError::Collision { .. })));
        let grafts = [graft(&one.path().join("a"), "y"), graft(two.path(), "y/z")];
        assert!(matches!(walk(&grafts, &POLICY), Err(WalkError::NotBelowFolder { .. })));
    }
}
