//! The spec as the other stages use it: checked, with every default filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use carafe_layers::digest::Digest;
use serde::Serialize;

use super::app::{AppSource, AppSpec};
use super::error::{Origin, SpecError};
use super::network::Network;
use super::quantity::ByteSize;
use crate::git::CommitId;
use crate::secret::{Redactor, Secret};

/// Default wall-clock limit of each step of the build.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What to build, checked, with every default filled in.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Frappe first, then the apps in the order of installation.
    pub apps: Vec<AppSpec>,
    /// The build image, which contains bench: a registry reference, `oci:DIRECTORY[:REF]` or
    /// `docker-archive:FILE[:TAG]`.
    pub build_image: ImageSpec,
    /// The base image, in the same forms.
    pub base_image: ImageSpec,
    /// Push targets, as registry references.
    pub tags: Vec<String>,
    /// Wall-clock limit of each step of the build.
    pub timeout: Duration,
    /// Memory limit of the build, if any.
    pub memory: Option<ByteSize>,
    /// Environment variables for bench. The lock and the image contain them, so they must not be secret.
    pub env: BTreeMap<String, String>,
    /// Connection settings of registries, by `host` or `host:port`.
    pub registries: BTreeMap<String, RegistrySpec>,
    /// Mirrors, credentials and access rules for all other hosts.
    pub network: Network,
    /// The directory that paths in the spec are relative to. Empty for the current directory.
    pub directory: PathBuf,
}

/// Connection settings of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySpec {
    /// Uses plain HTTP.
    pub insecure: bool,
    /// A PEM bundle of CAs that are trusted in addition to the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of the client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// An image reference, and where it is written.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// The reference as written.
    pub reference: String,
    /// For messages: where it is written.
    pub origin: Origin,
}

impl Spec {
    /// The checksum of everything that the lock depends on: apps, refs, commits, images and environment
    /// variables. It does not cover tags, limits, mirrors and credentials, so changing a token does not
    /// require a new lock.
    pub fn checksum(&self) -> Digest {
        let apps = self.apps.iter().map(ChecksummedApp::from).collect::<Vec<_>>();
        let images = [&self.build_image.reference, &self.base_image.reference];
        let text = serde_json::to_vec(&(apps, images, &self.env)).expect("strings serialize");
        Digest::of(&text)
    }

    /// Every secret in the spec: for redacting text from programs and servers, and for the search of the image.
    pub fn redactor(&self) -> Redactor {
        let secrets = self.apps.iter().flat_map(|app| match &app.source {
            AppSource::Git { remote, .. } => remote.secrets().collect::<Vec<Secret>>(),
            AppSource::Local { .. } => Vec::new(),
        });
        Redactor::new(secrets.chain(self.network.secrets()))
    }

    /// Applies the mirrors and credentials of `network` to a spec that has public URLs only.
    pub fn with_network(mut self, network: Network) -> Result<Self, SpecError> {
        self.apps = network.locate_all(self.apps)?;
        self.network = network;
        Ok(self)
    }
}

/// The part of an app that the spec's checksum covers. The checksum is in the lock, and so in the image:
/// renaming or moving a field changes image bytes.
#[derive(Serialize)]
struct ChecksummedApp<'a> {
    from: &'a str,
    name: Option<&'a str>,
    commit: Option<&'a CommitId>,
    off_branch: bool,
    without_required: &'a [String],
    without_submodules: &'a [String],
}

impl<'a> From<&'a AppSpec> for ChecksummedApp<'a> {
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
