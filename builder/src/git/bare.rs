//! Bare repositories in the cache: created without templates, opened without other configuration.

use std::fs;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::odb::pack::Bundle;
use gix::odb::pack::bundle::write;
use gix::progress::DynNestedProgress;

use super::error::GitError;
use super::id::CommitId;
use super::limits::MAX_OBJECT_BYTES;

/// The complete configuration of a new repository. It has no remote, so that the repository does
/// not depend on where its commit was fetched from.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

/// Creates an empty bare repository in `git_dir`, which may exist.
pub(super) fn create(git_dir: &Path) -> Result<(), GitError> {
    let create = || {
        for directory in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            fs::create_dir_all(git_dir.join(directory))?;
        }
        fs::write(git_dir.join("config"), CONFIG)?;
        fs::write(git_dir.join("HEAD"), "ref: refs/heads/main\n")
    };
    create().map_err(GitError::repository("create a repository in", git_dir))
}

/// Opens the repository with its own configuration only.
pub(super) fn open(git_dir: &Path) -> Result<gix::Repository, GitError> {
    let options = gix::open::Options::isolated().open_path_as_is(true);
    gix::open_opts(git_dir, options).map_err(GitError::repository("open the repository", git_dir))
}

/// Writes a pack and its index into the repository. The ID of every object is computed from its
/// content. `threads` is the maximum number of threads; by default all cores are used.
pub(super) fn index_pack(
    pack: &mut dyn BufRead,
    git_dir: &Path,
    threads: Option<usize>,
    progress: &mut dyn DynNestedProgress,
    interrupt: &AtomicBool,
) -> gix::Result<write::Outcome> {
    let directory = git_dir.join("objects/pack");
    let options = write::Options {
        thread_limit: threads,
        alloc_limit_bytes: usize::try_from(MAX_OBJECT_BYTES).ok(),
        ..Default::default()
    };
    let bases = None::<gix::objs::find::Never>;
    let hash = gix::hash::Kind::Sha1;
    let written =
        Bundle::write_to_directory(pack, Some(&directory), progress, interrupt, bases, hash, options)?;
    // The keep file protects the pack from `git gc` until a ref is written; nothing runs gc here.
    if let Some(keep) = &written.keep_path {
        fs::remove_file(keep).map_err(gix::Error::from_error)?;
    }
    Ok(written)
}

/// Links the objects of the repository `from` into the repository `to`, or copies them where the
/// file system has no hard links; the shallow boundary is copied.
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
            // Another file system, or one without hard links.
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Detaches HEAD at the commit.
pub(super) fn detach_head(git_dir: &Path, commit: &CommitId) -> Result<(), GitError> {
    let path = git_dir.join("HEAD");
    fs::write(&path, format!("{commit}\n")).map_err(GitError::repository("write", &path))
}

/// gix's type of an ID from [`CommitId`] or [`TreeId`](super::id::TreeId).
pub(super) fn object_id(id: &str) -> gix::ObjectId {
    gix::ObjectId::from_hex(id.as_bytes()).expect("an ID has 40 hexadecimal digits")
}
