//! Image → Pushed.

use std::sync::Arc;

use carafe_layers::layout::LayoutSource;
use carafe_layers::source::{ImageSource, ResolvedImage, resolve};

use crate::images::{ImageName, Layered};
use crate::pipeline::{Built, Context};
use crate::registry::{KnownBlobs, PushReport, Reference};

/// Pushes an image that was just built: our blobs from the layout, the base's from where it is,
/// or mounted where the target's registry has them.
pub fn push_built(
    built: &Built,
    targets: &[Reference],
    context: &Context,
) -> miette::Result<Vec<PushReport>> {
    let digest = built.image.descriptor.digest.to_string();
    let layout = LayoutSource::open(&built.layout, Some(&digest))?;
    let source = Layered { layout, base: Arc::clone(&built.sources.base_source) };
    let image = resolve(&source, &context.platform)?;
    push(&source, &image, &built.lock.base_image.reference, targets, context)
}

/// Pushes an image; `base` names the image that its lower layers may be mounted from.
pub fn push(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    base: &str,
    targets: &[Reference],
    context: &Context,
) -> miette::Result<Vec<PushReport>> {
    let mut known = KnownBlobs::default();
    if let Ok(ImageName::Registry(base)) = base.parse() {
        known.add(base.repository(), image.manifest.layers.iter().map(|layer| layer.digest));
    }
    Ok(context.registry.push(image, source, targets, &known, &context.progress)?)
}
