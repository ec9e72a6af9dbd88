//! An app in a lock, and its form in the file.

use carafe_layers::text::escape_bytes;
use serde::{Deserialize, Serialize};

use crate::app::is_package_name;
use crate::git::{CommitId, RefKind, TreeId};

/// An app, pinned to a commit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "AppTable", into = "AppTable")]
pub struct LockedApp {
    /// The name of its Python package and of its directory in `apps/`.
    pub name: String,
    /// Where its files come from.
    pub source: LockedSource,
    /// The commit. For a local directory, a commit that Carafe makes from its content.
    pub commit: CommitId,
    /// The tree of the commit, which is verified after a fetch.
    pub tree: TreeId,
    /// The time of the commit, in seconds since 1970: the modification time of the app's files.
    pub time: i64,
}

impl LockedApp {
    /// The branch or tag that was resolved to the commit.
    pub fn reference(&self) -> Option<&(RefKind, String)> {
        match &self.source {
            LockedSource::Git { reference, .. } => reference.as_ref(),
            LockedSource::Local { .. } => None,
        }
    }
}

/// Where the files of an app come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockedSource {
    /// A git repository.
    Git {
        /// The public URL, without credentials.
        url: String,
        /// The branch or tag that was resolved to the commit, if the spec has one.
        reference: Option<(RefKind, String)>,
    },
    /// A directory.
    Local {
        /// The path as written in the spec, relative to it.
        path: String,
    },
}

/// A [`LockedApp`] as written in the file.
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
        // It becomes the name of a directory: an edited lock must not cause a write outside of the bench.
        if !is_package_name(&table.name) {
            return Err(format!("`{}` is not a valid app name", escape_bytes(table.name.as_bytes())));
        }
        let reference = match (table.branch, table.tag) {
            (Some(branch), None) => Some((RefKind::Branch, branch)),
            (None, Some(tag)) => Some((RefKind::Tag, tag)),
            (None, None) => None,
            _ => return Err(format!("app `{}` must not have both `branch` and `tag`", table.name)),
        };
        let source = match (table.url, table.path) {
            (Some(url), None) => LockedSource::Git { url, reference },
            (None, Some(path)) if reference.is_none() => LockedSource::Local { path },
            _ => {
                return Err(format!(
                    "app `{}` must have either `url` or `path`, and no branch or tag with `path`",
                    table.name
                ));
            }
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
