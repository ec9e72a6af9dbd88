//! Bind mounts and injected files for isolation kinds without private files: created on this machine
//! and removed again.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::config::{Bind, InjectedFile};
use super::error::SandboxError;
use super::inject::inject;

/// The files and links that were created on this machine; removed when dropped.
#[derive(Default)]
pub(super) struct HostFiles(Vec<PathBuf>);

impl HostFiles {
    /// Creates a symbolic link for each bind mount, and the files. Overwrites nothing.
    pub fn create(binds: &[Bind], files: &[InjectedFile]) -> Result<Self, SandboxError> {
        let mut created = Self::default();
        for bind in binds.iter().filter(|bind| bind.source != bind.target) {
            created.add(&bind.target, || symlink(&bind.source, &bind.target))?;
        }
        for file in files {
            created.add(&file.path, || inject(file))?;
        }
        Ok(created)
    }

    fn add(&mut self, path: &Path, create: impl FnOnce() -> io::Result<()>) -> Result<(), SandboxError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(SandboxError::AlreadyExists { path: path.to_owned() });
        }
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(SandboxError::io("create", directory))?;
        create().map_err(SandboxError::io("create", path))?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for HostFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_files_are_removed_and_existing_ones_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("present"), "mine").unwrap();
        let bind = |target: &str| Bind { source: at("present"), target: at(target), writable: false };
        let file = |name: &str| InjectedFile { path: at(name), content: b"new".to_vec(), mode: 0o755 };
        let created = HostFiles::create(&[bind("link")], &[file("new/file")]).unwrap();
        assert_eq!(fs::read_to_string(at("link")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(at("new/file")).unwrap(), "new");
        drop(created);
        assert!(!at("link").exists() && !at("new/file").exists());
        let error = HostFiles::create(&[bind("link")], &[file("present")]);
        assert!(matches!(error, Err(SandboxError::AlreadyExists { .. })));
        assert!(fs::symlink_metadata(at("link")).is_err());
        assert_eq!(fs::read_to_string(at("present")).unwrap(), "mine");
    }
}
