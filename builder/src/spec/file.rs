//! `carafe.toml` as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::app_url::{self, Environment};
use super::network::{MirrorTable, NetworkTable};
use super::{AppSource, AppSpec, Origin, SpecError};
use crate::git::{self, EmptySubmodules};

/// The whole file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(default)]
    pub image: ImageTable,
    pub frappe: Option<Spanned<AppTable>>,
    #[serde(default)]
    pub app: Vec<Spanned<AppTable>>,
    /// A path to an apps.json, instead of `[[app]]`.
    pub apps: Option<Spanned<String>>,
    #[serde(default)]
    pub build: BuildTable,
    #[serde(default)]
    pub registry: BTreeMap<Spanned<String>, RegistryTable>,
    #[serde(default)]
    pub mirrors: MirrorTable,
    #[serde(default)]
    pub network: NetworkTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ImageTable {
    #[serde(default)]
    pub tags: Vec<String>,
    pub build_image: Option<Spanned<String>>,
    pub base_image: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BuildTable {
    pub timeout: Option<Spanned<String>>,
    pub memory: Option<Spanned<String>>,
    #[serde(default)]
    pub env: BTreeMap<Spanned<String>, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegistryTable {
    #[serde(default)]
    pub insecure: bool,
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// An app, in `carafe.toml` and in `apps.json` alike.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AppTable {
    pub url: Option<String>,
    pub path: Option<String>,
    pub branch: Option<String>,
    pub commit: Option<String>,
    #[serde(default)]
    pub off_branch: bool,
    #[serde(default)]
    pub without_required: Vec<String>,
    #[serde(default)]
    pub without_submodules: Vec<String>,
}

impl File {
    /// Parses a file; `whole` is its text, for messages.
    pub fn parse(text: &str, whole: &Origin) -> Result<Self, SpecError> {
        toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            whole.at(span).error(error.message(), "docs/spec.md lists every key")
        })
    }
}

impl AppTable {
    /// Checks it.
    pub fn into_app(self, origin: Origin, env: Environment) -> Result<AppSpec, SpecError> {
        let source = match (self.url.as_deref(), &self.path) {
            (Some(url), None) => self.git(url, &origin, env)?,
            (None, Some(path)) => self.local(path.clone(), &origin)?,
            _ => {
                let help = "`url` names a git repository, `path` a directory beside the spec";
                return Err(origin.error("an app needs either a `url` or a `path`", help));
            }
        };
        Ok(AppSpec { source, without_required: self.without_required, origin })
    }

    fn git(&self, url: &str, origin: &Origin, env: Environment) -> Result<AppSource, SpecError> {
        let parsed = app_url::parse(url, &origin.key("url"), env)?;
        let name = match (&self.branch, parsed.name) {
            (Some(branch), Some(name)) if *branch != name => {
                let message = format!("the url names `{name}` and the branch is `{branch}`");
                return Err(origin.key("branch").error(message, "name it once, as `branch`"));
            }
            (branch, name) => branch.clone().or(name),
        };
        if let Some(name) = &name {
            check_name(name, &origin.key("branch"))?;
        }
        let commit = self.commit.as_deref().map(str::parse).transpose();
        let commit = commit.map_err(|error: git::ParseIdError| {
            origin
                .key("commit")
                .error(error.to_string(), "`git rev-parse HEAD` in a clone prints the whole name")
        })?;
        if name.is_none() && commit.is_none() {
            let help = "add `branch` with a branch or a tag, or `commit`; only what is named can be locked";
            return Err(origin.error("an app needs a `branch` or a `commit`", help));
        }
        let without_submodules = EmptySubmodules::Named(self.without_submodules.clone());
        let off_branch = self.off_branch;
        Ok(AppSource::Git { remote: Box::new(parsed.remote), name, commit, off_branch, without_submodules })
    }

    fn local(&self, path: String, origin: &Origin) -> Result<AppSource, SpecError> {
        if self.branch.is_some() || self.commit.is_some() || self.off_branch {
            let help =
                "a directory is taken as it lies there; for one of its commits use its repository's `url`";
            return Err(origin.error("a `path` goes with no `branch` and no `commit`", help));
        }
        if path.is_empty() {
            return Err(origin.error("`path` is empty", "name the app's directory, relative to the spec"));
        }
        Ok(AppSource::Local { path })
    }
}

/// bench hands the name to git through a shell-like split, so what git would refuse or bench
/// would break is refused here.
pub(super) fn check_name(name: &str, origin: &Origin) -> Result<(), SpecError> {
    if name.parse::<git::CommitId>().is_ok() {
        let help = format!("bench cannot clone a commit by `branch`; write `commit = \"{name}\"`");
        return Err(origin.error("a commit stands where a branch or a tag belongs", help));
    }
    git::check_ref_name(name).map_err(|error| origin.wrap(error))
}
