//! The backend of the git binary: ssh with the user's keys, `file://`, and paths.

use std::path::Path;

use super::backend::GitBackend;
use super::command::GitCommand;
use super::command_error::{check, is_unknown_commit};
use super::error::GitError;
use super::id::CommitId;
use super::limits::{MAX_COMMITS, MAX_REF_LIST_BYTES, MAX_REFS};
use super::refs::{ResolvedRef, split_full_name};
use super::remote::Remote;
use crate::progress::Task;

/// Bytes of output of a run whose output is not used.
const MAX_UNUSED_OUTPUT_BYTES: u64 = 1 << 20;
/// Bytes of a line with a commit ID.
const ID_LINE_BYTES: u64 = 41;
/// Old commits may break rules that git introduced after them; only their IDs are used.
const NO_FSCK: [&str; 2] = ["-c", "transfer.fsckObjects=false"];

/// The git binary on PATH, isolated from the user's configuration.
pub struct GitBinary;

impl GitBackend for GitBinary {
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError> {
        let git = GitCommand::new(remote, &format!("list the branches and tags of {remote}"))?;
        let git = git.args(["ls-remote", "--quiet", "--heads", "--tags"]).url();
        let output = git.run(MAX_REF_LIST_BYTES)?;
        check(remote, "list the branches and tags of", &output)?;
        parse_refs(remote, &output.stdout)
    }

    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError> {
        let git = GitCommand::new(remote, &format!("fetch from {remote}"))?.current_dir(git_dir);
        let options =
            ["--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let git = git.args(["--git-dir=.", "fetch"]).args(options).url().arg(commit.as_str());
        let output = git.run(MAX_UNUSED_OUTPUT_BYTES)?;
        if is_unknown_commit(&output) {
            return Err(GitError::UnknownCommit { url: remote.url().to_owned(), commit: commit.clone() });
        }
        check(remote, "fetch from", &output)?;
        task.advance(pack_bytes(git_dir));
        Ok(())
    }

    fn fetch_history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError> {
        let git = GitCommand::new(remote, &format!("read the history of {remote}"))?.current_dir(git_dir);
        let git = git.args(NO_FSCK).args(["--git-dir=.", "fetch", "--quiet"]);
        let options = ["--filter=tree:0", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let git = git.args(options).url().args(commits.iter().map(|commit| commit.as_str()));
        check(remote, "read the history of", &git.run(MAX_UNUSED_OUTPUT_BYTES)?)
    }

    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError> {
        let git_dir = scratch.join("history.git");
        let git = GitCommand::new(remote, &format!("read the history of {remote}"))?;
        let git = git.args(NO_FSCK).args(["clone", "--quiet", "--bare", "--no-local"]);
        let git = git.args(["--filter=tree:0", "--no-tags", "--single-branch", "--template="]);
        let git = git.arg(format!("--branch={}", tip.name)).url().arg(&git_dir);
        check(remote, "read the history of", &git.run(MAX_UNUSED_OUTPUT_BYTES)?)?;
        is_in_history(remote, &git_dir, &tip.commit, commit)
    }
}

/// All commits of the branch are in `git_dir`, so git sends no request for missing objects.
fn is_in_history(
    remote: &Remote,
    git_dir: &Path,
    tip: &CommitId,
    commit: &CommitId,
) -> Result<bool, GitError> {
    let git = GitCommand::new(remote, &format!("walk the history of {remote}"))?.current_dir(git_dir);
    let git = git.args(["--git-dir=.", "rev-list", tip.as_str(), "--"]);
    let output = git.run(MAX_COMMITS * ID_LINE_BYTES)?;
    check(remote, "walk the history of", &output)?;
    Ok(output.stdout.split(|&b| b == b'\n').any(|line| line == commit.as_str().as_bytes()))
}

/// Parses lines `<id>\t<ref>`. The line `<tag>^{}` after an annotated tag has the commit of the tag.
fn parse_refs(remote: &Remote, listing: &[u8]) -> Result<Vec<ResolvedRef>, GitError> {
    let mut refs: Vec<ResolvedRef> = Vec::new();
    for line in String::from_utf8_lossy(listing).lines() {
        let Some((commit, full)) = line.split_once('\t') else { continue };
        let Ok(commit) = commit.parse::<CommitId>() else { continue };
        let Some((kind, name)) = split_full_name(full) else { continue };
        match (name.strip_suffix("^{}"), refs.last_mut()) {
            (Some(name), Some(tag)) if tag.name == name => tag.commit = commit,
            (Some(_), _) => {}
            (None, _) => refs.push(ResolvedRef { kind, name: name.to_owned(), commit }),
        }
        if refs.len() > MAX_REFS {
            return Err(GitError::too_many(format!("the refs of {remote}"), MAX_REFS as u64, "refs"));
        }
    }
    Ok(refs)
}

fn pack_bytes(git_dir: &Path) -> u64 {
    let Ok(packs) = std::fs::read_dir(git_dir.join("objects/pack")) else { return 0 };
    packs.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
