//! An image → is it what its own lock gives?
//!
//! 1. [`Claims`]: the lock in the image's label, held against the rest of its documents.
//! 2. [`crate::pipeline::rebuild`]: the image that this lock gives here and now.
//! 3. [`rebuilt`] opens that one, [`crate::diff`] compares the two, `want` the rebuilt one.
//! 4. [`moved_inputs`] finds the inputs that moved, and [`Level::is_met`] judges.

mod claims;
mod moved_inputs;
pub mod report;

use std::io::Read;
use std::sync::Arc;

use carafe_layers::diff::{DocumentChange, EntryChange};
use carafe_layers::layout::LayoutSource;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, SourceError};
use serde::Serialize;

use crate::context::Context;
use crate::diff::{OpenError, Opened};
use crate::images::Layered;
use crate::pipeline::Built;

pub use claims::{ClaimError, Claims};
pub use moved_inputs::{InputKind, MovedInput, moved_inputs};

/// What has to be the same for an image to be equal to its rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The digest, and so every byte
    Bytes,
    /// The layers' tars and the config's values; a tool may have compressed the layers anew
    Layers,
    /// The tree that a container sees, and how it is run; a tool may have cut the layers anew
    Tree,
}

impl Level {
    /// Whether two images are equal. Every layer that they name was read and verified, once.
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
                    && !documents.iter().any(|change| is_value_of_config(change) && is_run(change))
            }
        }
    }
}

/// An empty pointer means the same values, written otherwise.
fn is_value_of_config(change: &DocumentChange) -> bool {
    change.document == "config" && !change.pointer.is_empty()
}

/// What says how an image came about changes with its layers.
fn is_run(change: &DocumentChange) -> bool {
    let member = change.pointer.split('/').nth(1).unwrap_or_default();
    !["created", "history", "rootfs"].contains(&member)
}

/// Opens what was just built, for a comparison with the image that it was built from.
pub fn rebuilt(built: &Built, context: &Context) -> Result<Opened, OpenError> {
    let layout = LayoutSource::open(&built.layout, Some(&built.image.descriptor.digest.to_string()))?;
    let source = Rebuilt(Layered { layout, base: Arc::clone(&built.sources.base_source) });
    Opened::of(Arc::new(source), &context.platform)
}

/// Is called by what it is: its directory is gone when anyone reads about it.
struct Rebuilt(Layered);

impl ImageSource for Rebuilt {
    fn name(&self) -> String {
        "the image that its lock gives".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.0.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.0.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.0.blob(descriptor)
    }
}
