//! Commits that Carafe creates: a local directory, or a subdirectory of a pinned commit, as an app.

use std::fs;
use std::path::Path;

use super::bare;
use super::error::GitError;
use super::id::CommitId;
use super::store::{Checkout, Store, find_entry, seal};
use super::tree_builder::TreeBuilder;
use super::work_tree;
use crate::progress::Task;

/// The time of a directory without a commit: 1980-01-01, the earliest that every archive format can
/// represent.
const DEFAULT_TIME: i64 = carafe_layers::format::FIXED_MTIME;
/// The commit message of a local directory. It is part of the commit object: a change would change
/// the commit IDs of all local apps, and make their locks outdated. It stays byte for byte.
const LOCAL_MESSAGE: &str = "A local folder\n";

impl Store {
    /// The content of the directory as a commit. The same bytes, executable bits and symbolic links
    /// give the same tree on every machine, and with the same time the same commit.
    ///
    /// Inside a git work tree, ignored files are left out, and tracked files are used as they are on
    /// disk; elsewhere all files are used. `.git` is never used. The time is `time` if given (from a
    /// lock), otherwise that of the newest commit that changed the directory if the directory has no
    /// uncommitted changes, otherwise 1980-01-01. `task` advances by bytes.
    pub fn local(&self, directory: &Path, time: Option<i64>, task: &Task) -> Result<Checkout, GitError> {
        let directory = fs::canonicalize(directory).map_err(|error| {
            let help = "check `path`; a relative path starts at the directory of the spec";
            GitError::local_app(directory, error.to_string(), help)
        })?;
        let in_git = directory.ancestors().any(|parent| parent.join(".git").exists());
        let paths = match in_git {
            true => work_tree::files(&directory)?,
            false => work_tree::all_files(&directory)?,
        };
        let newest = if in_git && time.is_none() { work_tree::newest_commit_time(&directory) } else { None };
        let time = time.or(newest).unwrap_or(DEFAULT_TIME);
        let scratch = self.cache.scratch()?;
        bare::create(scratch.path())?;
        let repository = bare::open(scratch.path())?;
        let mut root = TreeBuilder::default();
        for path in paths {
            root.add_file(&repository, &directory, &path, task)?;
        }
        if root.is_empty() {
            let help = "a local app is a directory with files that git does not ignore";
            return Err(GitError::local_app(&directory, "it has no files, or git ignores all of them", help));
        }
        let tree = root.write(&repository).map_err(GitError::repository("write to", scratch.path()))?;
        let commit = write_commit(&repository, tree, time, LOCAL_MESSAGE)
            .map_err(GitError::repository("write to", scratch.path()))?;
        self.adopt(scratch.path(), &commit)
    }

    /// A subdirectory of a commit as a commit of its own, with the time of the original commit;
    /// `None` if the directory does not exist. Submodules in it are listed in the result, not
    /// rejected.
    pub fn subdirectory(&self, checkout: &Checkout, path: &str) -> Result<Option<Checkout>, GitError> {
        let source = bare::open(&checkout.git_dir)?;
        let Some((tree, mode)) = find_entry(&source, checkout, path)? else { return Ok(None) };
        if !mode.is_tree() {
            return Ok(None);
        }
        let scratch = self.cache.scratch()?;
        bare::create(scratch.path())?;
        bare::link_objects(&checkout.git_dir, scratch.path())
            .map_err(GitError::repository("copy the objects of", &checkout.git_dir))?;
        // Like `LOCAL_MESSAGE`, this determines commit IDs and stays byte for byte.
        let message = format!("Folder {} of {}\n", path.trim_matches('/'), checkout.commit);
        let commit = write_commit(&bare::open(scratch.path())?, tree, checkout.time, &message)
            .map_err(GitError::repository("write to", scratch.path()))?;
        self.adopt(scratch.path(), &commit).map(Some)
    }

    /// Verifies the commit of a repository, and adds it to the store.
    fn adopt(&self, git_dir: &Path, commit: &CommitId) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |entry| {
            bare::create(entry)?;
            bare::link_objects(git_dir, entry)
                .map_err(GitError::repository("copy the objects of", git_dir))?;
            seal(entry, commit)
        })?;
        self.open(git_dir, commit)
    }
}

/// Writes a commit without parents. Author, committer and time zone are fixed, so that the ID
/// depends on the arguments only.
fn write_commit(
    repository: &gix::Repository,
    tree: gix::ObjectId,
    time: i64,
    message: &str,
) -> gix::Result<CommitId> {
    let signature = gix::actor::Signature {
        name: "Carafe".into(),
        email: "carafe@localhost".into(),
        time: gix::date::Time::new(time, 0),
    };
    let commit = gix::objs::Commit {
        tree,
        parents: Default::default(),
        author: signature.clone(),
        committer: signature,
        encoding: None,
        message: message.into(),
        extra_headers: Vec::new(),
    };
    let id = repository.write_object(&commit)?;
    Ok(id.to_string().parse().expect("an object ID has 40 hexadecimal digits"))
}
