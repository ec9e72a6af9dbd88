//! Destinations of images, and the result of a transfer to them.

use carafe_layers::digest::Digest;
use serde::Serialize;

use crate::images::ImageName;
use crate::output::{CommandResult, Content};
use crate::registry::Reference;
use crate::transfer::report::{Delivered, PushedData};

/// Parses destinations.
pub fn targets(names: &[String]) -> miette::Result<Vec<ImageName>> {
    names.iter().map(|name| Ok(name.parse::<ImageName>()?)).collect()
}

/// The destinations in registries.
pub fn references(targets: &[ImageName]) -> Vec<Reference> {
    targets.iter().filter_map(ImageName::reference).cloned().collect()
}

/// Parses references.
pub fn tags(tags: &[String]) -> miette::Result<Vec<Reference>> {
    tags.iter().map(|tag| Ok(tag.parse::<Reference>()?)).collect()
}

/// The result of `push`, `copy` and `index create`.
#[derive(Serialize)]
pub struct DeliveryResult {
    digest: Digest,
    names: Vec<String>,
    pushed: Vec<PushedData>,
    #[serde(skip)]
    summary: String,
}

impl DeliveryResult {
    /// The image `digest` was delivered to `targets`; `summary` is for people.
    pub fn new(digest: Digest, targets: &[ImageName], delivered: &Delivered, summary: String) -> Self {
        let names = delivered.names(digest, targets);
        Self { digest, names, pushed: PushedData::list(&delivered.pushed), summary }
    }
}

impl CommandResult for DeliveryResult {
    fn content(&self) -> Content<'_> {
        Content::Text { output: self.names.join("\n"), summary: self.summary.clone() }
    }
}
