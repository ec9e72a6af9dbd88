//! Where blobs are, as far as we know.

use std::collections::{BTreeMap, BTreeSet};

use carafe_layers::digest::Digest;

use super::mirrors::Mirrors;
use super::reference::Repository;

/// Where blobs are known to be: a base's layers in the base's repository. A registry takes them
/// from there instead of being sent them again.
#[derive(Clone, Debug, Default)]
pub struct MountCandidates(BTreeMap<Digest, BTreeSet<Repository>>);

impl MountCandidates {
    /// Notes that `repository` has these blobs. If that is wrong, they are sent.
    pub fn add(&mut self, repository: &Repository, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            self.0.entry(digest).or_default().insert(repository.clone());
        }
    }

    /// In the mirrors of those repositories too.
    pub(super) fn everywhere(&self, mirrors: &Mirrors) -> Self {
        let copies = |all: &BTreeSet<Repository>| all.iter().flat_map(|one| mirrors.copies(one)).collect();
        Self(self.0.iter().map(|(digest, all)| (*digest, copies(all))).collect())
    }

    /// Other repositories of `target`'s registry that have `digest`.
    pub(super) fn mount_candidates(&self, target: &Repository, digest: Digest) -> Vec<Repository> {
        let known = self.0.get(&digest).into_iter().flatten();
        known.filter(|other| other.registry() == target.registry() && *other != target).cloned().collect()
    }
}
