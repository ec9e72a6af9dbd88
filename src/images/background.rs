//! Background uploads of layers that are in a layout.

use std::fs::File;

use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use crate::registry::{MountCandidates, PendingPush};

/// Uploads a new layer of `layout` in the background.
pub fn send_layer(push: &PendingPush, layer: &Descriptor, layout: &LayoutWriter) {
    send_mountable_layer(push, layer, &MountCandidates::default(), layout);
}

/// Uploads a layer of `layout` in the background, unless it can be mounted.
pub fn send_mountable_layer(
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
