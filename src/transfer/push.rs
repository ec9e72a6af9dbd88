//! Image → Pushed: blobs go ahead as soon as their bytes are there, the image's documents last.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use carafe_builder::lock::LockedImage;
use carafe_layers::image::Image;
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::oci::{Descriptor, Platform};
use carafe_layers::source::{SourceError, resolve};

use super::Transfer;
use crate::build::fetch::Sources;
use crate::images::{ImageName, Layered};
use crate::registry::{MountCandidates, PendingPush};

/// Sends the base's layers ahead, from where the base is, or from `layout` that has them too.
pub fn send_base(push: &PendingPush, sources: &Sources, locked: &LockedImage, layout: Option<&LayoutWriter>) {
    let layers = &sources.base.manifest.layers;
    let mut known = MountCandidates::default();
    if let Ok(ImageName::Registry(base)) = locked.reference.parse() {
        known.add(base.repository(), layers.iter().map(|layer| layer.digest));
    }
    for layer in layers {
        match layout {
            Some(layout) => send_file(push, layer, &known, layout),
            None => {
                let (source, blob) = (Arc::clone(&sources.base_source), layer.clone());
                push.send(layer, &known, move || source.blob(&blob));
            }
        }
    }
}

/// Sends a layer of our own ahead, which lies in `layout`.
pub fn send_layer(push: &PendingPush, layer: &Descriptor, layout: &LayoutWriter) {
    send_file(push, layer, &MountCandidates::default(), layout);
}

fn send_file(push: &PendingPush, layer: &Descriptor, known: &MountCandidates, layout: &LayoutWriter) {
    let path = layout.blob_path(&layer.digest);
    push.send(layer, known, move || match File::open(&path) {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(SourceError::Io { path: path.display().to_string(), source }),
    });
}

/// An image that was just built, ready to be brought somewhere: our blobs from the layout, the
/// base's from where it is, or mounted where the target's registry has them.
pub fn transfer(image: &Image, layout: &Path, sources: &Sources) -> miette::Result<Transfer> {
    let layout = LayoutSource::open(layout, Some(&image.descriptor.digest.to_string()))?;
    let source = Arc::new(Layered { layout, base: Arc::clone(&sources.base_source) });
    let image = resolve(&*source, &Platform::host())?;
    Ok(Transfer::of_image(source, &image))
}
