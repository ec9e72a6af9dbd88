//! A built bench on this machine. Rules access its files only through [`BenchTree`].

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use carafe_layers::format::MODE_PLAIN;
use walkdir::{DirEntry, WalkDir};

use super::error::NormalizeError;
use crate::lock::LockedApp;

/// Maximum size of a file that a rule reads into memory, in bytes: ten times the largest source map of a large
/// bench.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A built bench. Paths are relative to its directory.
///
/// Its files are not trusted: no symbolic link in a path is followed, so no file outside of the bench is read or
/// written. No other process may use the bench at the same time.
pub struct BenchTree {
    root: PathBuf,
    apps: Vec<LockedApp>,
}

impl BenchTree {
    /// The bench in the directory `root`, built from `apps`, frappe first. Neither `root` nor a directory above it
    /// that a build could change may be a symbolic link.
    pub fn new(root: impl Into<PathBuf>, apps: impl Into<Vec<LockedApp>>) -> Self {
        Self { root: root.into(), apps: apps.into() }
    }

    /// The apps, frappe first.
    pub fn apps(&self) -> &[LockedApp] {
        &self.apps
    }

    /// The path on this machine. An error if a directory above it is a link or a file. The path itself may be
    /// anything, also missing.
    pub fn host(&self, path: &Path) -> Result<PathBuf, NormalizeError> {
        let mut host = self.root.clone();
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else {
                return Err(NormalizeError::unsupported(path, "the path is not below the bench"));
            };
            host.push(name);
            if components.peek().is_some() {
                let metadata = fs::symlink_metadata(&host).map_err(NormalizeError::io("find", path))?;
                if !metadata.is_dir() {
                    return Err(NormalizeError::unsupported(
                        path,
                        "its parent is a link or a file, not a directory",
                    ));
                }
            }
        }
        Ok(host)
    }

    /// The file type, without following links. `None` if the path or a directory above it does not exist.
    pub fn kind(&self, path: &Path) -> Result<Option<fs::FileType>, NormalizeError> {
        match self
            .host(path)
            .and_then(|host| fs::symlink_metadata(host).map_err(NormalizeError::io("find", path)))
        {
            Ok(metadata) => Ok(Some(metadata.file_type())),
            Err(NormalizeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content of a regular file.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, NormalizeError> {
        let host = self.host(path)?;
        let metadata = fs::symlink_metadata(&host).map_err(NormalizeError::io("read", path))?;
        if !metadata.is_file() {
            return Err(NormalizeError::unsupported(path, "it is not a regular file"));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(NormalizeError::unsupported(path, "it is larger than 256 MiB"));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&host).map_err(NormalizeError::io("read", path))?;
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(NormalizeError::io("read", path))?;
        Ok(bytes)
    }

    /// The content of a regular file with UTF-8 text.
    pub fn read_text(&self, path: &Path) -> Result<String, NormalizeError> {
        String::from_utf8(self.read(path)?).map_err(|_| NormalizeError::unsupported(path, "it is not UTF-8"))
    }

    /// Writes a file atomically. Replaces a file or link with this path.
    pub fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> Result<(), NormalizeError> {
        let host = self.host(path)?;
        let directory = host.parent().unwrap_or(&self.root);
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(MODE_PLAIN))
            .tempfile_in(directory)
            .map_err(NormalizeError::io("write", path))?;
        io::Write::write_all(&mut file, content.as_ref()).map_err(NormalizeError::io("write", path))?;
        file.persist(&host).map_err(|error| NormalizeError::io("write", path)(error.error))?;
        Ok(())
    }

    /// Renames or moves a file or directory. `to` must not exist.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), NormalizeError> {
        if self.kind(to)?.is_some() {
            return Err(NormalizeError::unsupported(to, "it exists already"));
        }
        fs::rename(self.host(from)?, self.host(to)?).map_err(NormalizeError::io("rename", from))
    }

    /// Removes a file, a link (not its target), or a directory with its content.
    pub fn remove(&self, path: &Path) -> Result<(), NormalizeError> {
        let host = self.host(path)?;
        let metadata = fs::symlink_metadata(&host).map_err(NormalizeError::io("remove", path))?;
        let removed = if metadata.is_dir() { fs::remove_dir_all(host) } else { fs::remove_file(host) };
        removed.map_err(NormalizeError::io("remove", path))
    }

    /// Creates a directory and its parents, unless it exists.
    pub fn create_directory(&self, path: &Path) -> Result<(), NormalizeError> {
        if self.kind(path)?.is_some_and(|kind| !kind.is_dir()) {
            return Err(NormalizeError::unsupported(path, "it is not a directory"));
        }
        fs::create_dir_all(self.root.join(path)).map_err(NormalizeError::io("create", path))
    }

    /// The names in a directory, sorted.
    pub fn names(&self, directory: &Path) -> Result<Vec<std::ffi::OsString>, NormalizeError> {
        let entries = fs::read_dir(self.host(directory)?).map_err(NormalizeError::io("list", directory))?;
        let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
        let mut names = names.map_err(NormalizeError::io("list", directory))?;
        names.sort();
        Ok(names)
    }

    /// All paths below `directory` that match `is_match`, sorted. The content of a matching directory is not
    /// searched. Links are not followed. The result is empty if `directory` does not exist.
    pub fn find(
        &self,
        directory: &str,
        is_match: impl Fn(&DirEntry) -> bool,
    ) -> Result<Vec<PathBuf>, NormalizeError> {
        let mut found = Vec::new();
        if !self.kind(Path::new(directory))?.is_some_and(|kind| kind.is_dir()) {
            return Ok(found);
        }
        let mut walk = WalkDir::new(self.root.join(directory)).min_depth(1).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| {
                let path = self.relative(error.path().unwrap_or(&self.root)).to_owned();
                NormalizeError::io("list", &path)(error.into())
            })?;
            if is_match(&entry) {
                found.push(self.relative(entry.path()).to_owned());
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            }
        }
        Ok(found)
    }

    fn relative<'a>(&self, host: &'a Path) -> &'a Path {
        host.strip_prefix(&self.root).unwrap_or(host)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A bench with these files and apps.
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
    fn does_not_follow_links() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "outside").unwrap();
        let (directory, tree) = bench(&[("sites/a", "")], Vec::new());
        std::os::unix::fs::symlink(outside.path(), directory.path().join("sites/out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("file"), directory.path().join("sites/file")).unwrap();

        for path in ["sites/out/file", "sites/file", "../file", "/etc/passwd"] {
            assert!(tree.read(Path::new(path)).is_err(), "{path}");
        }
        assert!(tree.write(Path::new("sites/out/file"), "inside").is_err());
        assert!(tree.remove(Path::new("sites/out/file")).is_err());
        assert!(tree.create_directory(Path::new("sites/out/new/directory")).is_err());
        tree.write(Path::new("sites/file"), "inside").unwrap();
        tree.remove(Path::new("sites/out")).unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "outside");
        assert_eq!(fs::read_to_string(directory.path().join("sites/file")).unwrap(), "inside");
    }

    #[test]
    fn reports_what_does_not_exist() {
        let (_directory, tree) = bench(&[], Vec::new());
        assert!(tree.kind(Path::new("a/b/c")).unwrap().is_none());
        assert!(tree.find("a/b", |_| true).unwrap().is_empty());
        let error = tree.read(Path::new("a/b")).unwrap_err().to_string();
        assert_eq!(error, "failed to find `a/b` in the bench");
    }
}
