//! Repositories that blobs can be mounted from.

use std::collections::{BTreeMap, BTreeSet};

use carafe_layers::digest::Digest;

use super::mirrors::Mirrors;
use super::reference::Repository;

/// The repositories that are known to have a blob, such as the base image's repository for the layers
/// of the base image. A registry can mount the blob from there, so that it is not sent.
#[derive(Clone, Debug, Default)]
pub struct MountCandidates(BTreeMap<Digest, BTreeSet<Repository>>);

impl MountCandidates {
    /// Adds `repository` for these blobs. If it does not have one, that blob is sent.
    pub fn add(&mut self, repository: &Repository, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            self.0.entry(digest).or_default().insert(repository.clone());
        }
    }

    /// With the locations and mirrors of all repositories instead of their names.
    pub(crate) fn with_mirrors(&self, mirrors: &Mirrors) -> Self {
        let copies = |all: &BTreeSet<Repository>| all.iter().flat_map(|one| mirrors.copies(one)).collect();
        Self(self.0.iter().map(|(digest, all)| (*digest, copies(all))).collect())
    }

    /// Other repositories of `target`'s registry that have `digest`.
    pub(crate) fn for_target(&self, target: &Repository, digest: Digest) -> Vec<Repository> {
        let all = self.0.get(&digest).into_iter().flatten();
        all.filter(|other| other.registry() == target.registry() && *other != target).cloned().collect()
    }
}
