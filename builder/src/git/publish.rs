//! A commit of the store under the name that somebody asks for.

use std::fs;
use std::io;
use std::path::Path;

use super::{Checkout, GitError, RefKind, Store, bare, refs};

impl Store {
    /// Makes `dir` a bare repository with the pinned commit as its only branch or tag, for a stock
    /// git that clones `file://<dir>` by that name, also from a read-only mount.
    ///
    /// Objects are hard links into the store where the file system allows it, else copies, so the
    /// repository stands alone. Nobody may write to it: the store would change.
    pub fn publish_as(
        &self,
        checkout: &Checkout,
        dir: &Path,
        name: &str,
        kind: RefKind,
    ) -> Result<(), GitError> {
        refs::check_name(name)?;
        bare::create(dir)?;
        let from = &checkout.git_dir;
        link_objects(from, dir).map_err(GitError::store("copy the objects of", from))?;
        let (directory, head) = match kind {
            RefKind::Branch => ("heads", format!("ref: refs/heads/{name}\n")),
            RefKind::Tag => ("tags", format!("{}\n", checkout.commit)),
        };
        let path = dir.join("refs").join(directory).join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(&path, format!("{}\n", checkout.commit))?;
            fs::write(dir.join("HEAD"), head)
        };
        write().map_err(GitError::store("write", &path))
    }
}

pub(super) fn link_objects(from: &Path, to: &Path) -> io::Result<()> {
    let shallow = from.join("shallow");
    if shallow.exists() {
        fs::copy(shallow, to.join("shallow"))?;
    }
    let objects = from.join("objects");
    for entry in walkdir::WalkDir::new(&objects).min_depth(1) {
        let entry = entry?;
        let target = to.join("objects").join(entry.path().strip_prefix(&objects).map_err(io::Error::other)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(target)?;
        } else if fs::hard_link(entry.path(), &target).is_err() {
            // Another file system, or one without links.
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
