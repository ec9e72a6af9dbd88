//! `carafe.toml` as written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::app::{AppSource, AppSpec};
use super::app_url::{self, check_ref_name};
use super::environment::Environment;
use super::error::{Origin, SpecError};
use super::network::{MirrorTable, NetworkTable};
use crate::git::{self, EmptySubmodules};

/// The complete file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(default)]
    pub image: ImageTable,
    pub frappe: Option<Spanned<AppTable>>,
    #[serde(default)]
    pub app: Vec<Spanned<AppTable>>,
    /// The path of an apps.json, instead of `[[app]]`.
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

/// An app, in `carafe.toml` and in `apps.json`.
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
    /// Parses a file; `document` is its complete text, for messages.
    pub fn parse(text: &str, document: &Origin) -> Result<Self, SpecError> {
        toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            document.at(span).syntax_error(error.message(), "docs/spec.md lists every key")
        })
    }
}

impl AppTable {
    /// Checks the app. `env` is for variables in the credentials of its URL.
    pub fn into_app(self, origin: Origin, env: Environment) -> Result<AppSpec, SpecError> {
        let source = match (self.url.as_deref(), &self.path) {
            (Some(url), None) => self.git(url, &origin, env)?,
            (None, Some(path)) => self.local(path.clone(), &origin)?,
            _ => {
                let help = "`url` is the URL of a git repository, `path` a directory relative to the spec";
                return Err(origin.error("an app must have either `url` or `path`", help));
            }
        };
        Ok(AppSpec { source, without_required: self.without_required, origin })
    }

    fn git(&self, url: &str, origin: &Origin, env: Environment) -> Result<AppSource, SpecError> {
        let parsed = app_url::parse(url, &origin.key("url"), env)?;
        let name = match (&self.branch, parsed.name) {
            (Some(branch), Some(name)) if *branch != name => {
                let message = format!("`url` has the branch `{name}`, but `branch` is `{branch}`");
                return Err(origin.key("branch").error(message, "set it only once, as `branch`"));
            }
            (branch, name) => branch.clone().or(name),
        };
        if let Some(name) = &name {
            check_ref_name(name, &origin.key("branch"))?;
        }
        let commit = self.commit.as_deref().map(str::parse).transpose();
        let commit = commit.map_err(|error: git::ParseIdError| {
            origin
                .key("commit")
                .error(error.to_string(), "`git rev-parse HEAD` in a clone prints the full commit ID")
        })?;
        if name.is_none() && commit.is_none() {
            let help = "add `branch` with a branch or a tag, or `commit`";
            return Err(origin.error("an app must have `branch` or `commit`", help));
        }
        let without_submodules = EmptySubmodules::Named(self.without_submodules.clone());
        let off_branch = self.off_branch;
        Ok(AppSource::Git { remote: Box::new(parsed.remote), name, commit, off_branch, without_submodules })
    }

    fn local(&self, path: String, origin: &Origin) -> Result<AppSource, SpecError> {
        if self.branch.is_some() || self.commit.is_some() || self.off_branch {
            let help = "the directory's current files are used; for one of its commits, use `url`";
            return Err(
                origin.error("`path` cannot be combined with `branch`, `commit` or `off-branch`", help)
            );
        }
        if path.is_empty() {
            return Err(
                origin.error("`path` is empty", "set it to the app's directory, relative to the spec")
            );
        }
        Ok(AppSource::Local { path })
    }
}
