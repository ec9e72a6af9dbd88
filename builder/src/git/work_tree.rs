//! The files of a local directory, and the time of its newest commit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::isolated_git;
use super::error::GitError;
use super::foreign_text::printable;
use super::limits::MAX_FILE_LIST_BYTES;
use crate::secret::Redactor;

/// All files in the directory except those in `.git`, relative to it.
pub(super) fn all_files(directory: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
    let walk = walkdir::WalkDir::new(directory).min_depth(1).into_iter();
    let mut paths = BTreeSet::new();
    for entry in walk.filter_entry(|entry| entry.file_name() != ".git") {
        let entry = entry.map_err(|error| GitError::io("read", directory)(error.into()))?;
        if !entry.file_type().is_dir() {
            paths.extend(entry.path().strip_prefix(directory).map(Path::to_owned));
        }
    }
    Ok(paths)
}

/// The files in a directory of a git work tree that are tracked, or would be added by `git add`,
/// relative to the directory.
pub(super) fn files(directory: &Path) -> Result<BTreeSet<PathBuf>, GitError> {
    let options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let purpose = || format!("list the files of `{}`, which is in a git work tree", directory.display());
    let output = git_in(directory).args(options).output();
    let output = output.map_err(|source| GitError::GitNotStarted { purpose: purpose(), source })?;
    if !output.status.success() {
        let reason = printable(&String::from_utf8_lossy(&output.stderr), &Redactor::default());
        let help = "`git status` in this directory must succeed";
        return Err(GitError::local_app(directory, reason, help));
    }
    if output.stdout.len() as u64 > MAX_FILE_LIST_BYTES {
        let what = format!("the list of files of `{}`", directory.display());
        return Err(GitError::too_large(what, MAX_FILE_LIST_BYTES));
    }
    let names = output.stdout.split(|&b| b == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect())
}

/// The time of the newest commit that changed the directory, in seconds since 1970; `None` if the
/// directory has uncommitted changes or no commit.
pub(super) fn newest_commit_time(directory: &Path) -> Option<i64> {
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

/// git in the user's own work tree, which any user may own, without hooks.
fn git_in(directory: &Path) -> Command {
    let mut git = isolated_git();
    let settings = [("safe.directory", "*"), ("core.fsmonitor", "false"), ("core.hooksPath", "/dev/null")];
    git.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (index, (key, value)) in settings.iter().enumerate() {
        git.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
    git.current_dir(directory);
    git
}
