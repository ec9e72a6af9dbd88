//! A commit of the cache as a repository that git can clone by the name of a branch or tag.

use std::fs;
use std::path::Path;

use super::bare;
use super::error::GitError;
use super::refs::{RefKind, check_ref_name};
use super::store::{Checkout, Store};

impl Store {
    /// Makes `dir` a bare repository with the pinned commit as its only branch or tag. Any git can
    /// clone `file://<dir>` by that name, also from a read-only mount.
    ///
    /// Objects are hard links into the cache where the file system supports them, otherwise copies.
    /// The repository depends on no other one. It must not be written to: that would change the
    /// cache.
    pub fn publish_as(
        &self,
        checkout: &Checkout,
        dir: &Path,
        name: &str,
        kind: RefKind,
    ) -> Result<(), GitError> {
        check_ref_name(name)?;
        bare::create(dir)?;
        let from = &checkout.git_dir;
        bare::link_objects(from, dir).map_err(GitError::repository("copy the objects of", from))?;
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
        write().map_err(GitError::repository("write", &path))
    }
}
