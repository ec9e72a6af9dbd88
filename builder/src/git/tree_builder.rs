//! git trees and blobs from the files of a directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gix::objs::tree::{self, EntryKind};

use super::error::GitError;
use super::limits::MAX_LOCAL_FILE_BYTES;
use crate::progress::Task;

/// A directory whose files are written as blobs already, and whose trees are not.
#[derive(Default)]
pub(super) struct TreeBuilder(BTreeMap<String, Node>);

enum Node {
    Directory(TreeBuilder),
    File(EntryKind, gix::ObjectId),
}

impl TreeBuilder {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the file `top/path` as a blob, and adds it at `path`. A file that does not exist, such
    /// as a tracked file that was deleted, is left out.
    pub fn add_file(
        &mut self,
        repository: &gix::Repository,
        top: &Path,
        path: &Path,
        task: &Task,
    ) -> Result<(), GitError> {
        let full = top.join(path);
        let Some((kind, bytes)) = read_entry(&full)? else { return Ok(()) };
        let id = repository.write_blob(&bytes).map_err(GitError::repository("store", &full))?.detach();
        task.advance(bytes.len() as u64);
        let names: Option<Vec<&str>> = path.iter().map(OsStr::to_str).collect();
        let names =
            names.ok_or_else(|| GitError::local_app(&full, "its name is not UTF-8", "rename the file"))?;
        self.insert(&names, Node::File(kind, id));
        Ok(())
    }

    fn insert(&mut self, names: &[&str], node: Node) {
        match names {
            [] => {}
            [name] => {
                self.0.insert((*name).to_owned(), node);
            }
            [name, rest @ ..] => {
                let child = self.0.entry((*name).to_owned());
                if let Node::Directory(directory) = child.or_insert_with(|| Node::Directory(Self::default()))
                {
                    directory.insert(rest, node);
                }
            }
        }
    }

    /// Writes the trees, and returns the ID of the top one.
    pub fn write(self, repository: &gix::Repository) -> gix::Result<gix::ObjectId> {
        let mut entries = Vec::with_capacity(self.0.len());
        for (name, node) in self.0 {
            let (kind, oid) = match node {
                Node::File(kind, id) => (kind, id),
                Node::Directory(directory) => (EntryKind::Tree, directory.write(repository)?),
            };
            entries.push(tree::Entry { mode: kind.into(), filename: name.into(), oid });
        }
        // git's order: the name of a directory sorts as if it ended with `/`.
        entries.sort();
        Ok(repository.write_object(gix::objs::Tree { entries })?.detach())
    }
}

/// The kind and the content of a file or symbolic link; `None` if it does not exist.
fn read_entry(path: &Path) -> Result<Option<(EntryKind, Vec<u8>)>, GitError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(None) };
    let failed = || GitError::io("read", path);
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(failed())?;
        return Ok(Some((EntryKind::Link, target.as_os_str().as_bytes().to_vec())));
    }
    if metadata.is_dir() {
        let reason = "it is a git repository inside another one (a submodule?)";
        let help = "move it out of the app's directory, or delete its `.git`";
        return Err(GitError::local_app(path, reason, help));
    }
    if !metadata.is_file() {
        let help = "remove it: an app consists of plain files, symbolic links and directories";
        return Err(GitError::local_app(path, "it is not a plain file, symbolic link or directory", help));
    }
    if metadata.len() > MAX_LOCAL_FILE_BYTES {
        return Err(GitError::too_large(format!("`{}`", path.display()), MAX_LOCAL_FILE_BYTES));
    }
    let is_executable = metadata.permissions().mode() & 0o100 != 0;
    let kind = if is_executable { EntryKind::BlobExecutable } else { EntryKind::Blob };
    Ok(Some((kind, fs::read(path).map_err(failed())?)))
}
