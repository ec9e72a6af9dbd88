//! What the user wants: `carafe.toml`, frappe_docker's flags and environment, `apps.json`.
//!
//! [`Spec::load`] reads them all into one value; from there on nobody asks where a wish came
//! from, except to point at its line in an error ([`Origin`]).

mod app_url;
mod apps_json;
mod error;
mod file;
mod from_lock;
mod load;
mod network;
mod quantity;
mod refused_hosts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use carafe_layers::digest::Digest;
use serde::Serialize;

use crate::git::{CommitId, EmptySubmodules, Remote};
use crate::secret::{Redactor, Secret};

pub use error::{Origin, SpecError};
pub use load::{AppsInput, SpecOverrides};
pub use network::Network;
pub use quantity::{ByteSize, format_bytes};

/// The spec's name when none is given.
pub const DEFAULT_FILE: &str = "carafe.toml";

/// A spec or an apps.json larger than this is refused before it is parsed.
pub const MAX_SPEC_BYTES: u64 = 1 << 20;

/// Wall-clock limit of each step of the build, where the spec names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// All that the user said, checked, with every default filled in.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Frappe first, then the apps in the order of installation.
    pub apps: Vec<AppSpec>,
    /// Where bench runs: a registry reference, `oci:DIRECTORY[:REF]` or `docker-archive:FILE[:TAG]`.
    pub build_image: ImageSpec,
    /// What the image stands on, in the same forms.
    pub base_image: ImageSpec,
    /// Where to push, as registry references.
    pub tags: Vec<String>,
    /// Wall-clock limit of each step of the build.
    pub timeout: Duration,
    /// Memory limit of the build in bytes, if any.
    pub memory: Option<ByteSize>,
    /// Environment variables for bench. No place for secrets: the lock and the image hold them.
    pub env: BTreeMap<String, String>,
    /// How registries are spoken to, by `host` or `host:port`.
    pub registries: BTreeMap<String, RegistrySpec>,
    /// How the outside is reached.
    pub network: Network,
    /// Paths in the spec are relative to this directory; empty where that is the current one.
    pub directory: PathBuf,
}

/// How one registry is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySpec {
    /// Over plain HTTP.
    pub insecure: bool,
    /// A PEM bundle of CAs that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// An image, and where the spec names it.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// As written.
    pub reference: String,
    /// Where.
    pub origin: Origin,
}

/// One app.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// Where it comes from.
    pub source: AppSource,
    /// Apps of its `required_apps` that are left out on purpose.
    pub without_required: Vec<String>,
    /// Where the spec names it.
    pub origin: Origin,
}

/// Where an app comes from.
#[derive(Clone, Debug)]
pub enum AppSource {
    /// A git repository.
    Git {
        /// The repository.
        remote: Box<Remote>,
        /// A branch or a tag, as bench's `branch` key takes both.
        name: Option<String>,
        /// The commit, if the spec pins it.
        commit: Option<CommitId>,
        /// The commit need not be on the branch.
        off_branch: bool,
        /// Submodules that stay empty directories, as a stock bench leaves all of them.
        without_submodules: EmptySubmodules,
    },
    /// A directory on this machine, as written, relative to [`Spec::directory`].
    Local {
        /// As written.
        path: String,
    },
}

impl AppSpec {
    /// For messages: the public URL, or the directory.
    pub fn label(&self) -> &str {
        match &self.source {
            AppSource::Git { remote, .. } => remote.url(),
            AppSource::Local { path } => path,
        }
    }

    /// What two entries for the same repository have in common.
    pub(crate) fn identity(&self) -> String {
        let label = self.label().trim_end_matches('/');
        label.strip_suffix(".git").unwrap_or(label).to_ascii_lowercase()
    }
}

impl Spec {
    /// The checksum of what the lock depends on: apps, refs, commits, images, environment. Tags, limits,
    /// mirrors and credentials are no part of it, so that a rotated token does not ask for a new lock.
    pub fn checksum(&self) -> Digest {
        let apps = self.apps.iter().map(Pinnable::from).collect::<Vec<_>>();
        let images = [&self.build_image.reference, &self.base_image.reference];
        let text = serde_json::to_vec(&(apps, images, &self.env)).expect("strings serialise");
        Digest::of(&text)
    }

    /// Every secret in the spec, for whoever shows text from outside or searches the image.
    pub fn redactor(&self) -> Redactor {
        let secrets = self.apps.iter().flat_map(|app| match &app.source {
            AppSource::Git { remote, .. } => remote.secrets().collect::<Vec<Secret>>(),
            AppSource::Local { .. } => Vec::new(),
        });
        Redactor::new(secrets.chain(self.network.secrets()))
    }
}

/// The part of an app that the spec's checksum covers.
#[derive(Serialize)]
struct Pinnable<'a> {
    from: &'a str,
    name: Option<&'a str>,
    commit: Option<&'a CommitId>,
    off_branch: bool,
    without_required: &'a [String],
    without_submodules: &'a [String],
}

impl<'a> From<&'a AppSpec> for Pinnable<'a> {
    fn from(app: &'a AppSpec) -> Self {
        let local = Self {
            from: app.label(),
            name: None,
            commit: None,
            off_branch: false,
            without_required: &app.without_required,
            without_submodules: &[],
        };
        match &app.source {
            AppSource::Git { name, commit, off_branch, without_submodules, .. } => Self {
                name: name.as_deref(),
                commit: commit.as_ref(),
                off_branch: *off_branch,
                without_submodules: without_submodules.named(),
                ..local
            },
            AppSource::Local { .. } => local,
        }
    }
}
