//! Restoring the owner's access to files: a build may remove it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::ImageTreeError;

/// The permissions that the owner must have.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Adds the owner's permissions to `directory` and all directories and files below it. Root can read
/// them anyway; without this, a build would fail for an ordinary user and not for root. It does not
/// change the modes in the image, which depend only on the executable bit; that bit is kept.
pub fn restore(directory: &Path) -> Result<(), ImageTreeError> {
    let failed = |source| ImageTreeError::Permissions { path: directory.to_owned(), source };
    add_permissions(directory, DIRECTORY_MODE).map_err(failed)?;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            restore(&entry.path())?;
        } else if kind.is_file() {
            add_permissions(&entry.path(), FILE_MODE).map_err(failed)?;
        }
    }
    Ok(())
}

fn add_permissions(path: &Path, required: u32) -> std::io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    if mode & required == required {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode | required))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_access_and_keeps_the_executable_bit() {
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
