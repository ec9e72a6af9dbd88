//! An app in a lock, and how it stands in the file.

use carafe_layers::text::escape_bytes;
use serde::{Deserialize, Serialize};

use crate::app::is_package_name;
use crate::git::{CommitId, RefKind, TreeId};

/// An app at one commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "AppTable", into = "AppTable")]
pub struct LockedApp {
    /// The name of its python package and of its directory in `apps/`.
    pub name: String,
    /// Where it comes from.
    pub source: LockedSource,
    /// The commit. For a local directory, one that is made from its content.
    pub commit: CommitId,
    /// The commit's tree: what is checked after a fetch.
    pub tree: TreeId,
    /// The commit's time, seconds since 1970: the mtime of the app's files.
    pub time: i64,
}

impl LockedApp {
    /// The branch or tag that the commit was found under.
    pub fn reference(&self) -> Option<&(RefKind, String)> {
        match &self.source {
            LockedSource::Git { reference, .. } => reference.as_ref(),
            LockedSource::Local { .. } => None,
        }
    }
}

/// Where an app comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockedSource {
    /// A git repository.
    Git {
        /// Without credentials.
        url: String,
        /// The branch or tag that the commit was found under, if the spec names one.
        reference: Option<(RefKind, String)>,
    },
    /// A directory, relative to the spec.
    Local {
        /// As the spec names it.
        path: String,
    },
}

/// A [`LockedApp`] as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppTable {
    name: String,
    url: Option<String>,
    path: Option<String>,
    branch: Option<String>,
    tag: Option<String>,
    commit: CommitId,
    tree: TreeId,
    time: i64,
}

impl TryFrom<AppTable> for LockedApp {
    type Error = String;

    fn try_from(table: AppTable) -> Result<Self, String> {
        // It becomes a directory's name: a lock that was edited must not lead out of ours.
        if !is_package_name(&table.name) {
            return Err(format!("`{}` is no name of an app", escape_bytes(table.name.as_bytes())));
        }
        let reference = match (table.branch, table.tag) {
            (Some(branch), None) => Some((RefKind::Branch, branch)),
            (None, Some(tag)) => Some((RefKind::Tag, tag)),
            (None, None) => None,
            _ => return Err(format!("app `{}` has a branch and a tag", table.name)),
        };
        let source = match (table.url, table.path) {
            (Some(url), None) => LockedSource::Git { url, reference },
            (None, Some(path)) if reference.is_none() => LockedSource::Local { path },
            _ => return Err(format!("app `{}` needs either a url or a path", table.name)),
        };
        let AppTable { name, commit, tree, time, .. } = table;
        Ok(Self { name, source, commit, tree, time })
    }
}

impl From<LockedApp> for AppTable {
    fn from(app: LockedApp) -> Self {
        let LockedApp { name, source, commit, tree, time } = app;
        let (url, path, reference) = match source {
            LockedSource::Git { url, reference } => (Some(url), None, reference),
            LockedSource::Local { path } => (None, Some(path), None),
        };
        let (branch, tag) = match reference {
            Some((RefKind::Branch, branch)) => (Some(branch), None),
            Some((RefKind::Tag, tag)) => (None, Some(tag)),
            None => (None, None),
        };
        Self { name, url, path, branch, tag, commit, tree, time }
    }
}
