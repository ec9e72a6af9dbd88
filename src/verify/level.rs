//! What must be equal for an image to be reproduced.

use carafe_layers::diff::{DocumentChange, EntryChange};
use serde::Serialize;

use crate::diff::Opened;

/// What must be equal in an image and in its rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The digest, so every byte
    Bytes,
    /// The layers' tars and the config's values; layers may be compressed differently
    Layers,
    /// The tree that a container sees, and how it runs; layers may be split differently
    Tree,
}

impl Level {
    /// The level's name, as on the command line and in the JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Layers => "layers",
            Self::Tree => "tree",
        }
    }

    /// Whether two images are equal at this level. Every layer of both must have been verified.
    pub fn is_met(
        self,
        want: &Opened,
        got: &Opened,
        documents: &[DocumentChange],
        entries: &[EntryChange<'_>],
    ) -> bool {
        let [one, other] = [&want.image, &got.image];
        match self {
            Self::Bytes => one.descriptor.digest == other.descriptor.digest,
            Self::Layers => {
                one.config.rootfs.diff_ids == other.config.rootfs.diff_ids
                    && !documents.iter().any(is_value_of_config)
            }
            Self::Tree => {
                entries.is_empty()
                    && !documents.iter().any(|change| is_value_of_config(change) && is_runtime(change))
            }
        }
    }
}

/// An empty pointer stands for the same values with another encoding.
fn is_value_of_config(change: &DocumentChange) -> bool {
    change.document == "config" && !change.pointer.is_empty()
}

/// `created`, `history` and `rootfs` change with the layers; the other members configure the container.
fn is_runtime(change: &DocumentChange) -> bool {
    let member = change.pointer.split('/').nth(1).unwrap_or_default();
    !["created", "history", "rootfs"].contains(&member)
}
