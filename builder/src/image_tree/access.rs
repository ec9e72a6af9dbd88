//! A build may leave what even its owner may not read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ImageTreeError;

/// What an owner needs of a directory, and of a file.
const OF_DIRECTORIES: u32 = 0o700;
const OF_FILES: u32 = 0o600;

/// Gives their owner back every directory and file below `directory`. Root reads them anyway; without
/// this an ordinary user would fail where root builds an image. The image's modes are decided
/// elsewhere, from the executable bit alone, which stays.
pub fn restore(directory: &Path) -> Result<(), ImageTreeError> {
    let failed = |source| ImageTreeError::Unreadable { path: directory.to_owned(), source };
    give(directory, OF_DIRECTORIES).map_err(failed)?;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            restore(&entry.path())?;
        } else if kind.is_file() {
            give(&entry.path(), OF_FILES).map_err(failed)?;
        }
    }
    Ok(())
}

fn give(path: &Path, needed: u32) -> std::io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    if mode & needed == needed {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode | needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_can_be_read_and_stays_executable_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        for (name, mode) in [("plain", 0o000), ("script", 0o100)] {
            fs::write(closed.join(name), "x").unwrap();
            fs::set_permissions(closed.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere", closed.join("link")).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        restore(directory.path()).unwrap();
        let mode = |name: &str| fs::metadata(closed.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("."), mode("plain"), mode("script")), (0o700, 0o600, 0o700));
    }
}
