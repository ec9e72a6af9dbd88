//! Commits of our own making: a local directory, or a subdirectory of a pinned commit, as an app.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gix::objs::tree::{self, EntryKind};

use super::publish::link_objects;
use super::store::{find, finish};
use super::{Checkout, CommitId, GitError, Store, bare, command};
use crate::progress::Task;

/// The time of a directory that no commit dates: 1980-01-01, the earliest that every archive can hold.
const NO_TIME: i64 = carafe_layers::format::FIXED_MTIME;
/// How large a file may be.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// How much `git ls-files` may print.
const MAX_LISTING_BYTES: usize = 256 << 20;

impl Store {
    /// The directory's content as a commit: the same bytes, executable bits and links give the same
    /// tree, and with the same time the same commit, on every machine.
    ///
    /// Inside a git work tree, files that git ignores are left out, and what is tracked counts as
    /// it is on disk; elsewhere everything counts. `.git` never does. The time is `time` if given
    /// (from a lock), else that of the newest commit which touched the directory if nothing in it
    /// differs from that commit, else 1980-01-01. `task` moves by bytes.
    pub fn local(&self, directory: &Path, time: Option<i64>, task: &Task) -> Result<Checkout, GitError> {
        let directory =
            fs::canonicalize(directory).map_err(|error| refused(directory, &error.to_string()))?;
        let in_git = directory.ancestors().any(|parent| parent.join(".git").exists());
        let paths = if in_git { git_files(&directory)? } else { all_files(&directory)? };
        let newest = if in_git && time.is_none() { newest_commit(&directory) } else { None };
        let time = time.or(newest).unwrap_or(NO_TIME);
        let scratch = self.cache.scratch()?;
        bare::create(scratch.path())?;
        let repository = bare::open(scratch.path())?;
        let mut root = Directory::default();
        for path in paths {
            root.add(&repository, &directory, &path, task)?;
        }
        if root.0.is_empty() {
            return Err(refused(&directory, "it has no files, or git ignores all of them"));
        }
        let tree = root.write(&repository).map_err(GitError::store("write to", scratch.path()))?;
        let commit = write_commit(&repository, tree, time, "A local folder\n")
            .map_err(GitError::store("write to", scratch.path()))?;
        self.adopt(scratch.path(), &commit)
    }

    /// A subdirectory of a commit as a commit of its own, with the time of the whole; `None` when
    /// there is no such directory. Submodules beneath it are listed in the result, not refused.
    pub fn subdirectory(&self, checkout: &Checkout, path: &str) -> Result<Option<Checkout>, GitError> {
        let source = bare::open(&checkout.git_dir)?;
        let Some((tree, mode)) = find(&source, checkout, path)? else { return Ok(None) };
        if !mode.is_tree() {
            return Ok(None);
        }
        let scratch = self.cache.scratch()?;
        bare::create(scratch.path())?;
        link_objects(&checkout.git_dir, scratch.path())
            .map_err(GitError::store("copy the objects of", &checkout.git_dir))?;
        let message = format!("Directory {} of {}\n", path.trim_matches('/'), checkout.commit);
        let commit = write_commit(&bare::open(scratch.path())?, tree, checkout.time, &message)
            .map_err(GitError::store("write to", scratch.path()))?;
        self.adopt(scratch.path(), &commit).map(Some)
    }

    /// Checks a repository and moves it into the store.
    fn adopt(&self, git_dir: &Path, commit: &CommitId) -> Result<Checkout, GitError> {
        let git_dir = self.commits.entry(commit.as_str(), |entry| {
            bare::create(entry)?;
            link_objects(git_dir, entry).map_err(GitError::store("move the objects of", git_dir))?;
            finish(entry, commit)
        })?;
        self.open(git_dir, commit)
    }
}

/// A directory on its way to a tree.
#[derive(Default)]
struct Directory(BTreeMap<String, Node>);

enum Node {
    Directory(Directory),
    File(EntryKind, gix::ObjectId),
}

impl Directory {
    /// Writes the file `top/path` as an object. A file that is tracked and was deleted is skipped.
    fn add(
        &mut self,
        repository: &gix::Repository,
        top: &Path,
        path: &Path,
        task: &Task,
    ) -> Result<(), GitError> {
        let full = top.join(path);
        let Ok(metadata) = fs::symlink_metadata(&full) else { return Ok(()) };
        let failed = || GitError::store("read", &full);
        let (kind, bytes) = if metadata.is_symlink() {
            (EntryKind::Link, fs::read_link(&full).map_err(failed())?.as_os_str().as_bytes().to_vec())
        } else if metadata.is_dir() {
            return Err(refused(&full, "it is a git repository inside of another (a submodule?)"));
        } else if !metadata.is_file() {
            return Err(refused(&full, "it is neither a file, nor a link, nor a directory"));
        } else if metadata.len() > MAX_FILE_BYTES {
            let what = full.display().to_string();
            return Err(GitError::Limit { what, limit: MAX_FILE_BYTES, unit: "bytes" });
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let kind = if executable { EntryKind::BlobExecutable } else { EntryKind::Blob };
            (kind, fs::read(&full).map_err(failed())?)
        };
        let id = repository.write_blob(&bytes).map_err(GitError::store("store", &full))?.detach();
        task.advance(bytes.len() as u64);
        let parts: Option<Vec<&str>> = path.iter().map(OsStr::to_str).collect();
        let parts = parts.ok_or_else(|| refused(&full, "its name is not UTF-8"))?;
        self.insert(&parts, Node::File(kind, id));
        Ok(())
    }

    fn insert(&mut self, parts: &[&str], node: Node) {
        match parts {
            [] => {}
            [name] => {
                self.0.insert((*name).to_owned(), node);
            }
            [name, rest @ ..] => {
                let inner = self.0.entry((*name).to_owned());
                if let Node::Directory(directory) = inner.or_insert_with(|| Node::Directory(Self::default()))
                {
                    directory.insert(rest, node);
                }
            }
        }
    }

    fn write(self, repository: &gix::Repository) -> gix::Result<gix::ObjectId> {
        let mut entries = Vec::with_capacity(self.0.len());
        for (name, node) in self.0 {
            let (kind, oid) = match node {
                Node::File(kind, id) => (kind, id),
                Node::Directory(directory) => (EntryKind::Tree, directory.write(repository)?),
            };
            entries.push(tree::Entry { mode: kind.into(), filename: name.into(), oid });
        }
        // git's order, in which a directory sorts as if its name ended in `/`.
        entries.sort();
        Ok(repository.write_object(gix::objs::Tree { entries })?.detach())
    }
}

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
    Ok(id.to_string().parse().expect("an object id is 40 hexadecimal digits"))
}

fn all_files(directory: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
    let walk = walkdir::WalkDir::new(directory).min_depth(1).into_iter();
    let mut paths = BTreeSet::new();
    for entry in walk.filter_entry(|entry| entry.file_name() != ".git") {
        let entry = entry.map_err(GitError::store("read", directory))?;
        if !entry.file_type().is_dir() {
            paths.extend(entry.path().strip_prefix(directory).map(Path::to_owned));
        }
    }
    Ok(paths)
}

/// Tracked files and those that would be added, beneath `directory` and relative to it.
fn git_files(directory: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
    let options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let why = || format!("the local app `{}`, which lies in a git work tree", directory.display());
    let output = git_in(directory).args(options).output();
    let output = output.map_err(|source| GitError::NoGit { why: why(), source })?;
    if !output.status.success() {
        return Err(refused(directory, String::from_utf8_lossy(&output.stderr).trim()));
    }
    if output.stdout.len() > MAX_LISTING_BYTES {
        let what = format!("the files of `{}`", directory.display());
        return Err(GitError::Limit { what, limit: MAX_LISTING_BYTES as u64, unit: "bytes of names" });
    }
    let names = output.stdout.split(|&b| b == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
}

/// When the directory was last committed to, if it is as it was committed.
fn newest_commit(directory: &Path) -> Option<i64> {
    let run = |options: &[&str]| {
        let output =
            git_in(directory).args(options).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let status = run(&["status", "--porcelain", "--untracked-files=normal", "--", "."])?;
    if !status.is_empty() {
        return None;
    }
    run(&["log", "-1", "--format=%ct", "--", "."])?.trim().parse().ok()
}

/// git on the user's own work tree, whoever owns it, without its hooks.
fn git_in(directory: &Path) -> Command {
    let mut git = command::isolated();
    let settings = [("safe.directory", "*"), ("core.fsmonitor", "false"), ("core.hooksPath", "/dev/null")];
    git.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (key, value)) in settings.iter().enumerate() {
        git.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    git.current_dir(directory);
    git
}

fn refused(path: &Path, reason: &str) -> GitError {
    GitError::Directory { path: path.to_owned(), reason: reason.to_owned() }
}
