//! Branches and tags as a server lists them, and how a name is looked up among them.

use serde::{Deserialize, Serialize};

use super::{CommitId, GitError, Remote};

/// How many references a server may list.
pub(super) const MAX_REFS: usize = 500_000;
/// How many bytes they may take.
pub(super) const MAX_LISTING_BYTES: u64 = 150 << 20;
/// How many names an error proposes.
const MAX_SIMILAR_NAMES: usize = 5;

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefKind {
    /// Moves with every push.
    Branch,
    /// Stays, as a rule.
    Tag,
}

/// A name and the commit it stood for when the server was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedRef {
    /// Branch or tag.
    pub kind: RefKind,
    /// Without `refs/heads/` or `refs/tags/`.
    pub name: String,
    /// Annotated tags are peeled.
    pub commit: CommitId,
}

/// Checks a name before it reaches a server or a command line.
pub(crate) fn check_name(name: &str) -> Result<(), GitError> {
    let valid = gix::validate::reference::name_partial(name.into()).is_ok();
    if !valid || name.starts_with('-') || name.starts_with("refs/") || name == "HEAD" {
        let name = name.chars().take(200).flat_map(char::escape_debug).collect();
        return Err(GitError::BadRefName { name });
    }
    Ok(())
}

/// The branch of this name, else the tag, as `git clone --branch` has it; else an error that
/// proposes names like it.
pub(super) fn pick(remote: &Remote, refs: Vec<ResolvedRef>, name: &str) -> Result<ResolvedRef, GitError> {
    let found = refs.iter().filter(|one| one.name == name).min_by_key(|one| one.kind);
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let near = near(name, refs.into_iter().map(|one| one.name));
    Err(GitError::UnknownRef { url: remote.url().to_owned(), name: name.to_owned(), near })
}

/// The few names most like this one.
fn near(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    const FAR: usize = 3;
    let wanted = name.to_lowercase();
    let mut scored: Vec<(usize, String)> = names
        .filter_map(|other| {
            let lower = other.to_lowercase();
            let part = wanted.len() >= 3 && (lower.contains(&wanted) || wanted.contains(&lower));
            let distance = if part { 1 } else { distance(&wanted, &lower, FAR)? };
            Some((distance, other))
        })
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().map(|(_, name)| name).take(MAX_SIMILAR_NAMES).collect()
}

/// How many letters must change to get from one to the other, if at most `limit`.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().filter(|&distance| distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(kind: RefKind, name: &str, digit: char) -> ResolvedRef {
        let commit = digit.to_string().repeat(40).parse().unwrap();
        ResolvedRef { kind, name: name.into(), commit }
    }

    #[test]
    fn a_branch_goes_before_a_tag() {
        let remote = Remote::parse("https://host/app").unwrap();
        let refs = vec![listed(RefKind::Tag, "v1", '1'), listed(RefKind::Branch, "v1", '2')];
        assert_eq!(pick(&remote, refs, "v1").unwrap().kind, RefKind::Branch);
    }

    #[test]
    fn an_unknown_name_gets_a_few_near_ones() {
        let remote = Remote::parse("https://host/app").unwrap();
        let names = ["version-15", "version-14", "develop", "version-15-hotfix", "main"];
        let refs = names.iter().map(|name| listed(RefKind::Branch, name, '1')).collect();
        let error = pick(&remote, refs, "version-51").unwrap_err();
        let GitError::UnknownRef { near, .. } = error else { panic!("{error}") };
        assert_eq!(near, ["version-14", "version-15"]);
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in
            ["", "-x", "--upload-pack=x", "a..b", "a b", "a:b", "refs/heads/x", "HEAD", "a\nb", "x.lock"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["version-15", "feature/x", "v15.55.1", "HEADS"] {
            check_name(name).unwrap();
        }
    }
}
