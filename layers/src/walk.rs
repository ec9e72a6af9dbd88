//! Lists the directories on disk as sorted entries.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

use crate::mtime::MtimePolicy;
use crate::path::{ImagePath, ImagePathError};
use crate::text::escape_path;
use crate::tree::{Entry, EntryKind, SourceMapping};

/// Maximum number of entries: ten times the largest known bench. It bounds the memory of the list
/// (about 200 bytes per entry).
pub const MAX_ENTRIES: usize = 1_000_000;

const OWNER_MAY_EXECUTE: u32 = 0o100;

/// Why a tree could not be listed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WalkError {
    /// A directory or the metadata of a file could not be read.
    #[error("failed to read `{}`", escape_path(path))]
    Read {
        /// On this machine.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A socket, a FIFO or a device.
    #[error(
        "failed to pack `{}`: it is a {kind}, but an image contains only directories, files and links",
        escape_path(path)
    )]
    #[diagnostic(help("remove it from the tree, and check that no process of the build is still running"))]
    Special {
        /// On this machine.
        path: PathBuf,
        /// `socket`, `FIFO`, `device`.
        kind: &'static str,
    },
    /// A name that cannot be in an image.
    #[error("failed to pack `{}`", escape_path(host))]
    Path {
        /// On this machine.
        host: PathBuf,
        /// The cause.
        #[source]
        source: ImagePathError,
    },
    /// Two source mappings have an entry at one path.
    #[error(
        "failed to pack `{path}`: both `{}` and `{}` are mapped to it",
        escape_path(first),
        escape_path(second)
    )]
    Collision {
        /// In the image.
        path: ImagePath,
        /// On this machine.
        first: PathBuf,
        /// On this machine.
        second: PathBuf,
    },
    /// The parent of a path is not a directory.
    #[error("failed to pack `{}` as `{path}`: its parent in the image is not a directory", escape_path(host))]
    NotBelowDirectory {
        /// In the image.
        path: ImagePath,
        /// On this machine.
        host: PathBuf,
    },
    /// More entries than [`MAX_ENTRIES`].
    #[error("failed to pack `{}`: the tree has more than {MAX_ENTRIES} entries", escape_path(path))]
    TooMany {
        /// The source mapping that exceeded the limit.
        path: PathBuf,
    },
}

/// Lists the entries of all mappings: every directory, file and symbolic link (never followed), sorted
/// by the raw bytes of the path in the image.
///
/// A directory that several mappings share (with the same owner) is listed once; any other path in two
/// mappings is an error. Owner, mode bits, times, link counts and extended attributes on disk are
/// ignored, except the owner's execute bit.
pub fn walk(mappings: &[SourceMapping], mtimes: &MtimePolicy) -> Result<Vec<Entry>, WalkError> {
    let mut entries: BTreeMap<ImagePath, Entry> = BTreeMap::new();
    for mapping in mappings {
        let mapping = Arc::new(mapping.clone());
        for item in WalkDir::new(&mapping.host).follow_links(false).follow_root_links(false) {
            let entry = entry(&mapping, item.map_err(|error| walk_error(&mapping.host, error))?, mtimes)?;
            add(&mut entries, entry)?;
            if entries.len() > MAX_ENTRIES {
                return Err(WalkError::TooMany { path: mapping.host.clone() });
            }
        }
    }
    if mappings.len() > 1 {
        entries.values().try_for_each(|entry| check_parents(&entries, entry))?;
    }
    Ok(entries.into_values().collect())
}

fn add(entries: &mut BTreeMap<ImagePath, Entry>, entry: Entry) -> Result<(), WalkError> {
    let Some(first) = entries.get(&entry.path) else {
        entries.insert(entry.path.clone(), entry);
        return Ok(());
    };
    if first.is_directory() && entry.is_directory() && first.mapping.owner == entry.mapping.owner {
        return Ok(());
    }
    Err(WalkError::Collision { path: entry.path.clone(), first: first.host(), second: entry.host() })
}

fn check_parents(entries: &BTreeMap<ImagePath, Entry>, entry: &Entry) -> Result<(), WalkError> {
    let path = entry.path.to_path();
    let is_below_another_kind = path.ancestors().skip(1).any(|parent| {
        let parent = ImagePath::new(parent).ok().and_then(|path| entries.get(&path));
        parent.is_some_and(|parent| !parent.is_directory())
    });
    if is_below_another_kind {
        return Err(WalkError::NotBelowDirectory { path: entry.path.clone(), host: entry.host() });
    }
    Ok(())
}

fn entry(mapping: &Arc<SourceMapping>, item: DirEntry, mtimes: &MtimePolicy) -> Result<Entry, WalkError> {
    // walkdir returns paths that start with its root.
    let below = item.path().strip_prefix(&mapping.host).unwrap_or(Path::new(""));
    let path = mapping
        .image
        .join(below)
        .map_err(|source| WalkError::Path { host: item.path().to_owned(), source })?;
    let kind = kind(&item)?;
    let mtime = match kind {
        EntryKind::Directory => mtimes.of_directory(),
        EntryKind::File { .. } | EntryKind::Symlink { .. } => mtimes.of_file(&path),
    };
    Ok(Entry { path, kind, mtime, mapping: mapping.clone() })
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
        "FIFO"
    } else {
        "device"
    }
}

fn walk_error(root: &Path, error: walkdir::Error) -> WalkError {
    let path = error.path().unwrap_or(root).to_owned();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other("the tree contains a loop"));
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

    fn mapping(host: &Path, image: &str) -> SourceMapping {
        let owner = Owner { uid: 1000, gid: 1000 };
        SourceMapping { host: host.to_owned(), image: ImagePath::new(image).unwrap(), owner }
    }

    #[test]
    fn lists_a_tree_in_byte_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/x"), "12345").unwrap();
        fs::write(dir.path().join("a-b"), "").unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        let entries = walk(&[mapping(dir.path(), "/srv/b")], &POLICY).unwrap();
        let paths: Vec<String> = entries.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths, ["srv/b", "srv/b/a", "srv/b/a-b", "srv/b/a/x", "srv/b/link"]);
        assert_eq!(entries[3].kind, EntryKind::File { size: 5, executable: false });
        assert_eq!((entries[1].mtime, entries[3].mtime), (FIXED_MTIME, 5));
        assert_eq!(entries[3].host(), dir.path().join("a/x"));
        assert_eq!(entries[4].kind, EntryKind::Symlink { target: Arc::from(&b"/nowhere"[..]) });
    }

    #[test]
    fn maps_a_single_file_and_a_link_to_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("start"), "#!").unwrap();
        symlink(dir.path(), dir.path().join("loop")).unwrap();
        let mappings =
            [mapping(&dir.path().join("start"), "bin/start.sh"), mapping(&dir.path().join("loop"), "l")];
        let entries = walk(&mappings, &POLICY).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].host(), dir.path().join("start"));
        assert!(matches!(entries[1].kind, EntryKind::Symlink { .. }));
    }

    #[test]
    fn rejects_what_an_image_cannot_contain() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(dir.path().join("s")).unwrap();
        let error = walk(&[mapping(dir.path(), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().contains("it is a socket"), "{error}");
        fs::remove_file(dir.path().join("s")).unwrap();
        let _socket = UnixListener::bind(dir.path().join("\x1b[2J")).unwrap();
        let error = walk(&[mapping(dir.path(), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().contains("\\u{1b}[2J`: it is a socket"), "{error}");
        let error = walk(&[mapping(&dir.path().join("missing"), "x")], &POLICY).unwrap_err();
        assert!(error.to_string().ends_with("missing`"), "{error}");
    }

    #[test]
    fn mappings_may_share_only_directories() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(one.path().join("a"), "").unwrap();
        fs::create_dir(two.path().join("b")).unwrap();
        let mappings = [mapping(one.path(), "x"), mapping(two.path(), "x")];
        assert_eq!(walk(&mappings, &POLICY).unwrap().len(), 3);
        fs::write(two.path().join("a"), "").unwrap();
        assert!(matches!(walk(&mappings, &POLICY), Err(WalkError::Collision { .. })));
        let mappings = [mapping(&one.path().join("a"), "y"), mapping(two.path(), "y/z")];
        assert!(matches!(walk(&mappings, &POLICY), Err(WalkError::NotBelowDirectory { .. })));
    }
}
