//! What a push did.

use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;

use super::reference::Repository;

/// What had to be done for a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Its bytes were sent.
    Sent,
    /// The registry took it from another repository of its own.
    Mounted {
        /// From which.
        from: Repository,
    },
    /// It was there.
    Skipped,
}

/// What became of one blob.
#[derive(Clone, Debug)]
pub struct BlobReport {
    /// The blob.
    pub descriptor: Descriptor,
    /// How it got there.
    pub delivery: Delivery,
}

/// What a push did in one repository.
#[derive(Clone, Debug)]
pub struct PushReport {
    /// Where.
    pub target: Repository,
    /// The root's digest: with `target` it names the image for ever.
    pub digest: Digest,
    /// Each blob once: the layers in the manifests' order, then the configs.
    pub blobs: Vec<BlobReport>,
    /// The tags that point at it now.
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

/// What became of all blobs, in a few words.
pub(super) fn summary(reports: &[BlobReport]) -> String {
    let count = |is: fn(&Delivery) -> bool| reports.iter().filter(|blob| is(&blob.delivery)).count();
    let counts = [
        (count(|delivery| *delivery == Delivery::Sent), "sent"),
        (count(|delivery| matches!(delivery, Delivery::Mounted { .. })), "mounted"),
        (count(|delivery| *delivery == Delivery::Skipped), "skipped"),
    ];
    let words: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    words.join(", ")
}
