//! Bare repositories of the store: made without templates, opened without configuration.

use std::fs;
use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::odb::pack::Bundle;
use gix::odb::pack::bundle::write;
use gix::progress::DynNestedProgress;

use super::verify::MAX_OBJECT_BYTES;
use super::{CommitId, GitError};

/// The whole of a new repository's configuration. No remote: nothing says where it came from.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

/// Makes an empty bare repository in `git_dir`, which may exist.
pub(super) fn create(git_dir: &Path) -> Result<(), GitError> {
    let make = || {
        for directory in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            fs::create_dir_all(git_dir.join(directory))?;
        }
        fs::write(git_dir.join("config"), CONFIG)?;
        fs::write(git_dir.join("HEAD"), "ref: refs/heads/main\n")
    };
    make().map_err(GitError::store("create a repository in", git_dir))
}

/// Opens it with no configuration but its own.
pub(super) fn open(git_dir: &Path) -> Result<gix::Repository, GitError> {
    let options = gix::open::Options::isolated().open_path_as_is(true);
    gix::open_opts(git_dir, options).map_err(GitError::store("open the repository", git_dir))
}

/// Writes a pack and its index into the repository; every object's name is computed from its
/// content. `threads` are all that there are unless said.
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
    // It keeps git's garbage collector away until a reference is written; none runs here.
    if let Some(keep) = &written.keep_path {
        fs::remove_file(keep).map_err(gix::Error::from_error)?;
    }
    Ok(written)
}

/// Lets HEAD name the commit itself.
pub(super) fn detach_head(git_dir: &Path, commit: &CommitId) -> Result<(), GitError> {
    let path = git_dir.join("HEAD");
    fs::write(&path, format!("{commit}\n")).map_err(GitError::store("write", &path))
}

/// gix's form of a name.
pub(super) fn object_id(id: &str) -> gix::ObjectId {
    gix::ObjectId::from_hex(id.as_bytes()).expect("ids of ours are 40 hexadecimal digits")
}
