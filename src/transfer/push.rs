//! Transfers an image that was just built. Its blobs are uploaded in the background as soon as they are
//! available, its documents at the end.

use std::path::Path;
use std::sync::Arc;

use carafe_builder::lock::LockedImage;
use carafe_layers::image::Image;
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::source::resolve;

use super::image::Transfer;
use crate::build::fetch::Sources;
use crate::context::Context;
use crate::images::{ImageName, Layered, send_mountable_layer};
use crate::registry::{MountCandidates, PendingPush};

/// Uploads the layers of the base image in the background, from the base image's source, or from
/// `layout` if they were copied there.
pub fn send_base(push: &PendingPush, sources: &Sources, locked: &LockedImage, layout: Option<&LayoutWriter>) {
    let layers = &sources.base.manifest.layers;
    let mut mount_candidates = MountCandidates::default();
    if let Ok(ImageName::Registry(base)) = locked.reference.parse() {
        mount_candidates.add(base.repository(), layers.iter().map(|layer| layer.digest));
    }
    for layer in layers {
        match layout {
            Some(layout) => send_mountable_layer(push, layer, &mount_candidates, layout),
            None => {
                let (source, blob) = (Arc::clone(&sources.base_source), layer.clone());
                push.send(layer, &mount_candidates, move || source.blob(&blob));
            }
        }
    }
}

/// The transfer of an image that was just built. The new blobs are read from the layout `layout`,
/// those of the base image from its source, unless they can be mounted in the target.
pub fn built_image(
    image: &Image,
    layout: &Path,
    sources: &Sources,
    context: &Context,
) -> miette::Result<Transfer> {
    let layout = LayoutSource::open(layout, Some(&image.descriptor.digest.to_string()))?;
    let source = Arc::new(Layered { layout, base: Arc::clone(&sources.base_source) });
    let image = resolve(&*source, &context.platform)?;
    Ok(Transfer::of_image(source, &image))
}
