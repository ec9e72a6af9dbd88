//! Branches and tags, and how a name is looked up among those of a server.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::GitError;
use super::id::CommitId;
use super::remote::Remote;
use super::similar_names::similar_names;

/// The kind of a ref.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefKind {
    /// Moves with every push.
    Branch,
    /// Does not move, as a rule.
    Tag,
}

impl fmt::Display for RefKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        })
    }
}

/// A name and the commit that it resolved to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedRef {
    /// Branch or tag.
    pub kind: RefKind,
    /// The name without `refs/heads/` or `refs/tags/`.
    pub name: String,
    /// The commit; an annotated tag is peeled.
    pub commit: CommitId,
}

/// Checks a name before it is sent to a server or put on a command line.
pub(crate) fn check_ref_name(name: &str) -> Result<(), GitError> {
    let valid = gix::validate::reference::name_partial(name.into()).is_ok();
    if !valid || name.starts_with('-') || name.starts_with("refs/") || name == "HEAD" {
        let name = name.chars().take(200).flat_map(char::escape_debug).collect();
        return Err(GitError::InvalidRefName { name });
    }
    Ok(())
}

/// The kind of a full ref name, and the name without its prefix; `None` for other refs.
pub(super) fn split_full_name(full: &str) -> Option<(RefKind, &str)> {
    let branch = full.strip_prefix("refs/heads/").map(|name| (RefKind::Branch, name));
    branch.or_else(|| full.strip_prefix("refs/tags/").map(|name| (RefKind::Tag, name)))
}

/// The branch of this name, otherwise the tag, as in `git clone --branch`; otherwise an error that
/// proposes similar names.
pub(super) fn find_ref(remote: &Remote, refs: Vec<ResolvedRef>, name: &str) -> Result<ResolvedRef, GitError> {
    let found = refs.iter().filter(|one| one.name == name).min_by_key(|one| one.kind);
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let similar = similar_names(name, refs.into_iter().map(|one| one.name));
    Err(GitError::UnknownRef { url: remote.url().to_owned(), name: name.to_owned(), similar })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_has_precedence_over_a_tag() {
        let remote = Remote::parse("https://host/app").unwrap();
        let listed = |kind| ResolvedRef { kind, name: "v1".into(), commit: "1".repeat(40).parse().unwrap() };
        let refs = vec![listed(RefKind::Tag), listed(RefKind::Branch)];
        assert_eq!(find_ref(&remote, refs, "v1").unwrap().kind, RefKind::Branch);
    }

    #[test]
    fn rejects_names_with_another_meaning() {
        for name in
            ["", "-x", "--upload-pack=x", "a..b", "a b", "a:b", "refs/heads/x", "HEAD", "a\nb", "x.lock"]
        {
            assert!(check_ref_name(name).is_err(), "{name}");
        }
        for name in ["version-15", "feature/x", "v15.55.1", "HEADS"] {
            check_ref_name(name).unwrap();
        }
    }
}
