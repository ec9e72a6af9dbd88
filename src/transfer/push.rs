//! Transfers an image that was just built. Its blobs are uploaded in the background as soon as they are
//! available, its documents at the end.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use carafe_builder::lock::LockedImage;
use carafe_layers::image::Image;
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::oci::{Descriptor, Platform};
use carafe_layers::source::{SourceError, resolve};

use super::image::Transfer;
use crate::build::fetch::Sources;
use crate::images::{ImageName, Layered};
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
            Some(layout) => send_file(push, layer, &mount_candidates, layout),
            None => {
                let (source, blob) = (Arc::clone(&sources.base_source), layer.clone());
                push.send(layer, &mount_candidates, move || source.blob(&blob));
            }
        }
    }
}

/// Uploads a new layer of `layout` in the background.
pub fn send_layer(push: &PendingPush, layer: &Descriptor, layout: &LayoutWriter) {
    send_file(push, layer, &MountCandidates::default(), layout);
}

fn send_file(
    push: &PendingPush,
    layer: &Descriptor,
    mount_candidates: &MountCandidates,
    layout: &LayoutWriter,
) {
    let path = layout.blob_path(&layer.digest);
    push.send(layer, mount_candidates, move || match File::open(&path) {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(SourceError::Io { path: path.display().to_string(), source }),
    });
}

/// The transfer of an image that was just built. The new blobs are read from the layout `layout`,
/// those of the base image from its source, unless they can be mounted in the target.
pub fn transfer(image: &Image, layout: &Path, sources: &Sources) -> miette::Result<Transfer> {
    let layout = LayoutSource::open(layout, Some(&image.descriptor.digest.to_string()))?;
    let source = Arc::new(Layered { layout, base: Arc::clone(&sources.base_source) });
    let image = resolve(&*source, &Platform::host())?;
    Ok(Transfer::of_image(source, &image))
}
