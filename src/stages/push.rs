//! Image → Pushed.

use std::path::Path;
use std::sync::Arc;

use carafe_layers::image::{BASE_NAME, Image};
use carafe_layers::layout::LayoutSource;
use carafe_layers::source::{ImageSource, ResolvedImage, resolve};

use super::fetch::Sources;
use crate::context::Context;
use crate::images::{ImageName, Layered, base_layers};
use crate::registry::{KnownBlobs, PushReport, Reference};

/// Pushes an image that was just built: our blobs from the layout, the base's from where it is,
/// or mounted where the target's registry has them.
pub fn push_built(
    image: &Image,
    layout: &Path,
    sources: &Sources,
    targets: &[Reference],
    context: &Context,
) -> miette::Result<Vec<PushReport>> {
    let layout = LayoutSource::open(layout, Some(&image.descriptor.digest.to_string()))?;
    let source = Layered { layout, base: Arc::clone(&sources.base_source) };
    let image = resolve(&source, &context.platform)?;
    push(&source, &image, targets, context)
}

/// Pushes an image. Its annotation names the base, whose repository blobs may be mounted from.
pub fn push(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    targets: &[Reference],
    context: &Context,
) -> miette::Result<Vec<PushReport>> {
    let mut known = KnownBlobs::default();
    let base = image.manifest.annotations.get(BASE_NAME).and_then(|name| name.parse().ok());
    if let Some(ImageName::Registry(base)) = base {
        known.add(base.repository(), base_layers(image));
    }
    Ok(context.registry.push(image, source, targets, &known, &context.progress)?)
}
