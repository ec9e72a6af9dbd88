//! The account of the user that a step runs as: bench does not run without one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::namespaces::ID;
use super::setup_error::{PathOperation, SetupError};

/// The index of the id's field in both files, from zero.
const ID_FIELD: usize = 2;

/// Adds a user and a group with the id 1000, unless the rootfs has them, and creates the home
/// directory.
pub(super) fn ensure(home: &str) -> Result<(), SetupError> {
    let entries = [
        ("/etc/passwd", format!("frappe:x:{ID}:{ID}::{home}:/bin/sh\n")),
        ("/etc/group", format!("frappe:x:{ID}:\n")),
    ];
    for (path, entry) in entries {
        let path = Path::new(path);
        add_missing(path, &entry).map_err(SetupError::on(PathOperation::Write, path))?;
    }
    fs::create_dir_all(home).map_err(SetupError::on(PathOperation::Create, Path::new(home)))
}

fn add_missing(path: &Path, entry: &str) -> io::Result<()> {
    let present = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if has_id(&present) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    if present.last().is_some_and(|byte| *byte != b'\n') {
        file.write_all(b"\n")?;
    }
    file.write_all(entry.as_bytes())
}

fn has_id(database: &[u8]) -> bool {
    let id = ID.to_string();
    let mut lines = database.split(|byte| *byte == b'\n');
    lines.any(|line| line.split(|byte| *byte == b':').nth(ID_FIELD) == Some(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_entry_by_its_id_only() {
        assert!(has_id(b"root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n"));
        assert!(!has_id(b"1000:x:0:1000::/:\n"));
        assert!(!has_id(b""));
    }

    #[test]
    fn appends_a_line_to_a_file_without_a_final_newline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etc/group");
        let entry = "frappe:x:1000:\n";
        add_missing(&path, entry).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), entry);
        fs::write(&path, "root:x:0:").unwrap();
        add_missing(&path, entry).unwrap();
        add_missing(&path, entry).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "root:x:0:\nfrappe:x:1000:\n");
    }
}
