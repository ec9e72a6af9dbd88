//! Without isolation: what a sandbox would show inside is put on this machine, and taken away.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::config::{Bind, InjectedFile};
use super::error::SandboxError;
use super::launch;

/// The files and links that were put on this machine; removed when dropped.
#[derive(Default)]
pub(super) struct InPlace(Vec<PathBuf>);

impl InPlace {
    /// Puts a link for each bind and the files, over nothing that is there.
    pub fn place(binds: &[Bind], files: &[InjectedFile]) -> Result<Self, SandboxError> {
        let mut placed = Self::default();
        for bind in binds.iter().filter(|bind| bind.source != bind.target) {
            placed.add(&bind.target, || symlink(&bind.source, &bind.target))?;
        }
        for file in files {
            placed.add(&file.path, || {
                launch::inject(file).map_err(|error| io::Error::from_raw_os_error(error.errno))
            })?;
        }
        Ok(placed)
    }

    fn add(&mut self, path: &Path, make: impl FnOnce() -> io::Result<()>) -> Result<(), SandboxError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(SandboxError::InTheWay { path: path.to_owned() });
        }
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(SandboxError::io("create", directory))?;
        make().map_err(SandboxError::io("create", path))?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for InPlace {
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
    fn what_is_placed_is_removed_and_what_was_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("present"), "mine").unwrap();
        let bind = |target: &str| Bind { source: at("present"), target: at(target), writable: false };
        let file = |name: &str| InjectedFile { path: at(name), content: b"new".to_vec(), mode: 0o755 };
        let placed = InPlace::place(&[bind("link")], &[file("new/file")]).unwrap();
        assert_eq!(fs::read_to_string(at("link")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(at("new/file")).unwrap(), "new");
        drop(placed);
        assert!(!at("link").exists() && !at("new/file").exists());
        let refused = InPlace::place(&[bind("link")], &[file("present")]);
        assert!(matches!(refused, Err(SandboxError::InTheWay { .. })));
        assert!(fs::symlink_metadata(at("link")).is_err());
        assert_eq!(fs::read_to_string(at("present")).unwrap(), "mine");
    }
}
