//! Writing injected files.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use super::config::InjectedFile;

/// Writes a file, replacing what exists at its path.
pub(super) fn inject(file: &InjectedFile) -> io::Result<()> {
    if let Some(directory) = file.path.parent() {
        fs::create_dir_all(directory)?;
    }
    if fs::symlink_metadata(&file.path).is_ok() {
        fs::remove_file(&file.path)?;
    }
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path)?;
    new.write_all(&file.content)?;
    new.set_permissions(Permissions::from_mode(file.mode))
}
