//! One app of a spec.

use std::collections::BTreeSet;

use super::error::{Origin, SpecError};
use crate::git::{CommitId, EmptySubmodules, Remote};

/// One app.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// Where its files come from.
    pub source: AppSource,
    /// Apps in its `required_apps` that are omitted on purpose.
    pub without_required: Vec<String>,
    /// For messages: where the app is written.
    pub origin: Origin,
}

/// Where the files of an app come from.
#[derive(Clone, Debug)]
pub enum AppSource {
    /// A git repository.
    Git {
        /// The repository.
        remote: Box<Remote>,
        /// A branch or a tag; bench's key `branch` accepts both.
        name: Option<String>,
        /// The commit, if the spec pins it.
        commit: Option<CommitId>,
        /// Whether the commit may be on another branch.
        off_branch: bool,
        /// Submodules whose directories stay empty, as bench leaves all of them.
        without_submodules: EmptySubmodules,
    },
    /// A directory on this machine.
    Local {
        /// The path as written, relative to the directory of the spec.
        path: String,
    },
}

impl AppSpec {
    /// For messages: the public URL, or the path.
    pub fn label(&self) -> &str {
        match &self.source {
            AppSource::Git { remote, .. } => remote.url(),
            AppSource::Local { path } => path,
        }
    }

    /// A key that is equal for two entries of the same repository or directory.
    fn identity(&self) -> String {
        let label = self.label().trim_end_matches('/');
        label.strip_suffix(".git").unwrap_or(label).to_ascii_lowercase()
    }
}

/// Checks that no repository is listed twice, and that frappe is the first app only. `apps` is not empty.
pub(crate) fn check_apps(apps: &[AppSpec]) -> Result<(), SpecError> {
    let mut seen = BTreeSet::from([apps[0].identity()]);
    for app in &apps[1..] {
        let identity = app.identity();
        let is_git = matches!(app.source, AppSource::Git { .. });
        if is_git && identity.rsplit('/').next() == Some("frappe") {
            let help = "remove it: frappe is always installed first; `[frappe]`, or --frappe-path and \
                        --frappe-branch, set its repository and branch";
            return Err(app.origin.error("frappe must not be listed among the apps", help));
        }
        if !seen.insert(identity) {
            let message = format!("`{}` is listed twice", app.label());
            return Err(app.origin.error(message, "remove one of the two entries"));
        }
    }
    Ok(())
}
