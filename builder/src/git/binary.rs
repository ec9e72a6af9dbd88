//! Repositories through the git binary: ssh with the user's keys, `file://`, paths.

use std::path::Path;

use super::command::{Finished, Git};
use super::refs::{MAX_LISTING_BYTES, MAX_REFS};
use super::{CommitId, GitBackend, GitError, RefKind, Remote, ResolvedRef};
use crate::progress::Task;

/// How much a run whose output is not read may print.
const SILENT: u64 = 1 << 20;

/// The git binary on PATH, kept apart from the user's configuration.
pub struct GitBinary;

impl GitBackend for GitBinary {
    fn list(&self, remote: &Remote) -> Result<Vec<ResolvedRef>, GitError> {
        let git = Git::new(remote, &format!("reading {remote}"))?;
        let listing = git.args(["ls-remote", "--quiet", "--heads", "--tags"]).url();
        let finished = listing.run(MAX_LISTING_BYTES)?;
        check(remote, "list the branches of", &finished)?;
        parse_listing(remote, &finished.stdout)
    }

    fn fetch(&self, remote: &Remote, commit: &CommitId, git_dir: &Path, task: &Task) -> Result<(), GitError> {
        let git = Git::new(remote, &format!("fetching {remote}"))?.current_dir(git_dir);
        let options =
            ["--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let git = git.args(["--git-dir=.", "fetch"]).args(options).url().arg(commit.as_str());
        let finished = git.run(SILENT)?;
        if !finished.success && refuses_commit(&finished.stderr) {
            return Err(GitError::UnknownCommit { url: remote.url().to_owned(), commit: commit.clone() });
        }
        check(remote, "fetch from", &finished)?;
        task.advance(pack_bytes(git_dir));
        Ok(())
    }

    fn history(&self, remote: &Remote, commits: &[&CommitId], git_dir: &Path) -> Result<(), GitError> {
        let git = Git::new(remote, &format!("reading the history of {remote}"))?.current_dir(git_dir);
        // Old commits may break rules that were made after them; only their names matter here.
        let git = git.args(["-c", "transfer.fsckObjects=false", "--git-dir=.", "fetch", "--quiet"]);
        let options = ["--filter=tree:0", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        let git = git.args(options).url().args(commits.iter().map(|commit| commit.as_str()));
        check(remote, "read the history of", &git.run(SILENT)?)
    }

    fn is_ancestor(
        &self,
        remote: &Remote,
        tip: &ResolvedRef,
        commit: &CommitId,
        scratch: &Path,
    ) -> Result<bool, GitError> {
        let git_dir = scratch.join("history.git");
        let git = Git::new(remote, "asking whether a commit is on a branch")?;
        // Old commits may break rules that were made after them; only their names matter here.
        let git = git.args(["-c", "transfer.fsckObjects=false", "clone", "--quiet", "--bare", "--no-local"]);
        let git = git.args(["--filter=tree:0", "--no-tags", "--single-branch", "--template="]);
        let git = git.arg(format!("--branch={}", tip.name)).url().arg(&git_dir);
        check(remote, "read the history of", &git.run(SILENT)?)?;
        walk_finds(remote, &git_dir, &tip.commit, commit)
    }
}

/// All commits of the branch are there, so this never asks the server for more.
fn walk_finds(remote: &Remote, git_dir: &Path, tip: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
    const MAX_COMMITS: u64 = 5_000_000;
    let git = Git::new(remote, "asking whether a commit is on a branch")?.current_dir(git_dir);
    let git = git.args(["--git-dir=.", "rev-list", tip.as_str(), "--"]);
    let finished = git.run(MAX_COMMITS * 41)?;
    check(remote, "walk the history of", &finished)?;
    Ok(finished.stdout.split(|&b| b == b'\n').any(|line| line == commit.as_str().as_bytes()))
}

/// `<id>\t<reference>` lines; the line `<tag>^{}` that follows an annotated tag has the commit.
fn parse_listing(remote: &Remote, listing: &[u8]) -> Result<Vec<ResolvedRef>, GitError> {
    let mut refs: Vec<ResolvedRef> = Vec::new();
    for line in String::from_utf8_lossy(listing).lines() {
        let Some((commit, full)) = line.split_once('\t') else { continue };
        let Ok(commit) = commit.parse::<CommitId>() else { continue };
        let Some((kind, name)) = split_kind(full) else { continue };
        match (name.strip_suffix("^{}"), refs.last_mut()) {
            (Some(name), Some(tag)) if tag.name == name => tag.commit = commit,
            (Some(_), _) => {}
            (None, _) => refs.push(ResolvedRef { kind, name: name.to_owned(), commit }),
        }
        if refs.len() > MAX_REFS {
            let what = format!("the branches and tags of {remote}");
            return Err(GitError::Limit { what, limit: MAX_REFS as u64, unit: "references" });
        }
    }
    Ok(refs)
}

/// Branch or tag, and the name without its prefix.
pub(super) fn split_kind(full: &str) -> Option<(RefKind, &str)> {
    let branch = full.strip_prefix("refs/heads/").map(|name| (RefKind::Branch, name));
    branch.or_else(|| full.strip_prefix("refs/tags/").map(|name| (RefKind::Tag, name)))
}

fn pack_bytes(git_dir: &Path) -> u64 {
    let Ok(packs) = std::fs::read_dir(git_dir.join("objects/pack")) else { return 0 };
    packs.flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

fn refuses_commit(stderr: &str) -> bool {
    ["not our ref", "unadvertised object", "couldn't find remote ref"]
        .iter()
        .any(|text| stderr.contains(text))
}

/// Turns what git says into what went wrong. LC_ALL=C keeps its words stable.
fn check(remote: &Remote, verb: &'static str, finished: &Finished) -> Result<(), GitError> {
    const DENIED: [&str; 4] =
        ["Authentication failed", "could not read Username", "could not read Password", "error: 403"];
    const NO_REPOSITORY: [&str; 5] = [
        "does not appear to be a git",
        "not a git repository",
        "is this a git",
        "' not found",
        "Repository not found",
    ];
    const NO_ANSWER: [&str; 6] = [
        "unable to access",
        "Could not resolve",
        "Connection refused",
        "timed out",
        "Host key verification failed",
        "Network is unreachable",
    ];
    if finished.success {
        return Ok(());
    }
    let (url, reason) = (remote.to_string(), finished.stderr.clone());
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let (denied, has_credential) = (says(&DENIED), remote.credential().is_some());
    Err(if says(&["Permission denied (publickey"]) || denied && has_credential {
        GitError::CredentialRefused { url }
    } else if denied {
        GitError::CredentialMissing { url }
    } else if says(&NO_REPOSITORY) {
        GitError::NotARepository { url, reason }
    } else if says(&NO_ANSWER) {
        GitError::Unreachable { url, reason }
    } else {
        GitError::Failed { verb, url, reason }
    })
}
