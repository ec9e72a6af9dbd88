//! The account that a step runs under: bench refuses to run without one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::launcher_protocol::{SetupError, Verb};
use super::namespaces::ID;

/// Both files have the id in this field, from zero.
const ID_FIELD: usize = 2;

/// Gives 1000 a user and a group, unless the build root does, and makes its home.
pub(super) fn ensure(home: &str) -> Result<(), SetupError> {
    let entries = [
        ("/etc/passwd", format!("frappe:x:{ID}:{ID}::{home}:/bin/sh\n")),
        ("/etc/group", format!("frappe:x:{ID}:\n")),
    ];
    for (path, entry) in entries {
        let path = Path::new(path);
        add_missing(path, &entry).map_err(SetupError::on(Verb::Write, path))?;
    }
    fs::create_dir_all(home).map_err(SetupError::on(Verb::Create, Path::new(home)))
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
    fn an_entry_is_found_by_its_id_alone() {
        assert!(has_id(b"root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n"));
        assert!(!has_id(b"1000:x:0:1000::/:\n"));
        assert!(!has_id(b""));
    }

    #[test]
    fn a_file_without_a_last_line_end_is_not_garbled() {
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
