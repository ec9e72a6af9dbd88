//! A built bench on this machine, and the only way the rules touch it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use carafe_layers::format::MODE_PLAIN;
use carafe_layers::text::escape_bytes;
use walkdir::{DirEntry, WalkDir};

use super::NormalizeError;
use crate::lock::LockedApp;

/// A file that a rule reads whole has at most this many bytes: ten times the largest source map
/// of a large bench.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A built bench. Paths are relative to its directory.
///
/// What a build left is hostile: a path is never followed through a symbolic link, so that nothing
/// outside the bench is read or written. No process may run in it meanwhile.
pub struct BenchTree {
    root: PathBuf,
    apps: Vec<LockedApp>,
}

impl BenchTree {
    /// The bench at `root` on this machine, built from `apps`, frappe first. `root` itself must be
    /// no link, nor anything above it that a build could have changed.
    pub fn new(root: impl Into<PathBuf>, apps: impl Into<Vec<LockedApp>>) -> Self {
        Self { root: root.into(), apps: apps.into() }
    }

    /// The apps, frappe first.
    pub fn apps(&self) -> &[LockedApp] {
        &self.apps
    }

    /// Where a path lies on this machine. Its directories are checked, itself it may be anything.
    pub fn host(&self, path: &Path) -> Result<PathBuf, NormalizeError> {
        let mut host = self.root.clone();
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else {
                return Err(unknown(path, "it is not plainly below the bench"));
            };
            host.push(name);
            if components.peek().is_some() {
                let metadata = fs::symlink_metadata(&host).map_err(io_error("find", path))?;
                if !metadata.is_dir() {
                    return Err(unknown(path, "what is above it is a link or a file, not a directory"));
                }
            }
        }
        Ok(host)
    }

    /// What is there, links not followed; nothing if a directory above it is missing too.
    pub fn kind(&self, path: &Path) -> Result<Option<fs::FileType>, NormalizeError> {
        match self.host(path).and_then(|host| fs::symlink_metadata(host).map_err(io_error("find", path))) {
            Ok(metadata) => Ok(Some(metadata.file_type())),
            Err(NormalizeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content of a regular file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, NormalizeError> {
        let host = self.host(path)?;
        let metadata = fs::symlink_metadata(&host).map_err(io_error("read", path))?;
        if !metadata.is_file() {
            return Err(unknown(path, "it is not a regular file"));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(unknown(path, format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&host).map_err(io_error("read", path))?;
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(io_error("read", path))?;
        Ok(bytes)
    }

    /// The content of a regular file of text.
    pub fn read_text(&self, path: &Path) -> Result<String, NormalizeError> {
        String::from_utf8(self.read(path)?).map_err(|_| unknown(path, "it is not UTF-8"))
    }

    /// Puts a file there, in the place of whatever file or link is there.
    pub fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> Result<(), NormalizeError> {
        let host = self.host(path)?;
        let directory = host.parent().unwrap_or(&self.root);
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(MODE_PLAIN))
            .tempfile_in(directory)
            .map_err(io_error("write", path))?;
        io::Write::write_all(&mut file, content.as_ref()).map_err(io_error("write", path))?;
        file.persist(&host).map_err(|error| io_error("write", path)(error.error))?;
        Ok(())
    }

    /// Renames within one directory or to another; what is at `to` must not be there.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), NormalizeError> {
        if self.kind(to)?.is_some() {
            return Err(unknown(to, "something is in the way"));
        }
        fs::rename(self.host(from)?, self.host(to)?).map_err(io_error("rename", from))
    }

    /// Removes a file, a link (not what it points at), or a directory with all it holds.
    pub fn remove(&self, path: &Path) -> Result<(), NormalizeError> {
        let host = self.host(path)?;
        let metadata = fs::symlink_metadata(&host).map_err(io_error("remove", path))?;
        let removed = if metadata.is_dir() { fs::remove_dir_all(host) } else { fs::remove_file(host) };
        removed.map_err(io_error("remove", path))
    }

    /// Makes a directory, and those above it; one that is there stays.
    pub fn create_directory(&self, path: &Path) -> Result<(), NormalizeError> {
        if self.kind(path)?.is_some_and(|kind| !kind.is_dir()) {
            return Err(unknown(path, "it is not a directory"));
        }
        fs::create_dir_all(self.root.join(path)).map_err(io_error("create", path))
    }

    /// The names in a directory, sorted.
    pub fn names(&self, directory: &Path) -> Result<Vec<std::ffi::OsString>, NormalizeError> {
        let entries = fs::read_dir(self.host(directory)?).map_err(io_error("list", directory))?;
        let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let mut names = names.map_err(io_error("list", directory))?;
        names.sort();
        Ok(names)
    }

    /// Every path below `directory` for which `wanted` holds, sorted; below one that is wanted
    /// nothing is looked for. Links are not followed. A directory that is not there holds nothing.
    pub fn find(
        &self,
        directory: &str,
        wanted: impl Fn(&DirEntry) -> bool,
    ) -> Result<Vec<PathBuf>, NormalizeError> {
        let mut found = Vec::new();
        if !self.kind(Path::new(directory))?.is_some_and(|kind| kind.is_dir()) {
            return Ok(found);
        }
        let mut walk = WalkDir::new(self.root.join(directory)).min_depth(1).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| {
                let path = self.below(error.path().unwrap_or(&self.root)).to_owned();
                io_error("list", &path)(error.into())
            })?;
            if wanted(&entry) {
                found.push(self.below(entry.path()).to_owned());
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            }
        }
        Ok(found)
    }

    fn below<'a>(&self, host: &'a Path) -> &'a Path {
        host.strip_prefix(&self.root).unwrap_or(host)
    }
}

/// For `map_err`.
fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NormalizeError {
    let path = shown(path);
    move |source| NormalizeError::Io { verb, path, source }
}

/// [`NormalizeError::Unknown`].
pub(super) fn unknown(path: &Path, reason: impl Into<String>) -> NormalizeError {
    NormalizeError::Unknown { path: shown(path), reason: reason.into() }
}

fn shown(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bench of these files, from the given apps.
    pub fn bench(files: &[(&str, &str)], apps: Vec<LockedApp>) -> (tempfile::TempDir, BenchTree) {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let tree = BenchTree::new(directory.path(), apps);
        (directory, tree)
    }

    #[test]
    fn a_link_is_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "theirs").unwrap();
        let (directory, tree) = bench(&[("sites/a", "")], Vec::new());
        std::os::unix::fs::symlink(outside.path(), directory.path().join("sites/out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("file"), directory.path().join("sites/file")).unwrap();

        for path in ["sites/out/file", "sites/file", "../file", "/etc/passwd"] {
            assert!(tree.read(Path::new(path)).is_err(), "{path}");
        }
        assert!(tree.write(Path::new("sites/out/file"), "ours").is_err());
        assert!(tree.remove(Path::new("sites/out/file")).is_err());
        assert!(tree.create_directory(Path::new("sites/out/new/directory")).is_err());
        tree.write(Path::new("sites/file"), "ours").unwrap();
        tree.remove(Path::new("sites/out")).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(directory.path().join("sites/file")).unwrap(), "ours");
    }

    #[test]
    fn what_is_missing_is_no_error_to_ask_for() {
        let (_directory, tree) = bench(&[], Vec::new());
        assert!(tree.kind(Path::new("a/b/c")).unwrap().is_none());
        assert!(tree.find("a/b", |_| true).unwrap().is_empty());
        let error = tree.read(Path::new("a/b")).unwrap_err().to_string();
        assert_eq!(error, "failed to find `a/b` in the bench");
    }
}
