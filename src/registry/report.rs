//! The result of a push.

use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;

use super::reference::Repository;

/// How a blob got into a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Its bytes were sent.
    Sent,
    /// The registry mounted it from another of its repositories.
    Mounted {
        /// That repository.
        from: Repository,
    },
    /// The repository had it already.
    Skipped,
}

/// The result for one blob.
#[derive(Clone, Debug)]
pub struct BlobReport {
    /// The blob.
    pub descriptor: Descriptor,
    /// How it got into the repository.
    pub delivery: Delivery,
}

/// The result of a push to one repository.
#[derive(Clone, Debug)]
pub struct PushReport {
    /// The repository.
    pub target: Repository,
    /// The digest of the root manifest or index. Together with `target` it names the image
    /// permanently.
    pub digest: Digest,
    /// Each blob once: the layers in the order of the manifests, then the configs.
    pub blobs: Vec<BlobReport>,
    /// The tags that point at `digest` now.
    pub tags: Vec<String>,
}

impl PushReport {
    /// Every name of the image in this repository, by tag and digest; without tags by digest alone.
    pub fn names(&self) -> Vec<String> {
        let Self { target, digest, tags, .. } = self;
        match tags.as_slice() {
            [] => vec![format!("{target}@{digest}")],
            tags => tags.iter().map(|tag| format!("{target}:{tag}@{digest}")).collect(),
        }
    }
}

/// The number of blobs for each kind of delivery: `2 sent, 1 mounted`.
pub(crate) fn summary(reports: &[BlobReport]) -> String {
    let count = |is: fn(&Delivery) -> bool| reports.iter().filter(|blob| is(&blob.delivery)).count();
    let counts = [
        (count(|delivery| *delivery == Delivery::Sent), "sent"),
        (count(|delivery| matches!(delivery, Delivery::Mounted { .. })), "mounted"),
        (count(|delivery| *delivery == Delivery::Skipped), "skipped"),
    ];
    let parts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    parts.join(", ")
}
