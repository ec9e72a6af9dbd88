//! The rows of the layer table: of an image, and of what a push did.

use std::collections::BTreeSet;

use carafe_layers::digest::Digest;
use carafe_layers::image::layer_names;
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::source::ResolvedImage;
use carafe_layers::text::escape_bytes;
use serde_json::{Value, json};

use super::LayerRow;
use crate::registry::{Delivery, PushReport};

/// How a layer that is not ours is called.
const BASE: &str = "base";

/// One row for each layer of an image, with what `pushed` says of it.
pub fn image_rows(image: &ResolvedImage, pushed: &[PushReport]) -> Vec<LayerRow> {
    let layers = image.manifest.layers.iter().zip(layer_names(image));
    let row = |(layer, name): (&Descriptor, Option<&str>)| LayerRow {
        name: escape_bytes(name.unwrap_or(BASE).as_bytes()),
        size: layer.size,
        digest: layer.digest,
        fate: fates(pushed, &layer.digest),
    };
    layers.map(row).collect()
}

/// What became of a blob, in every place that it was pushed to.
pub fn fates(pushed: &[PushReport], blob: &Digest) -> String {
    let all = pushed.iter().flat_map(|report| &report.blobs);
    let fates: BTreeSet<String> =
        all.filter(|one| one.descriptor.digest == *blob).map(|one| fate(&one.delivery)).collect();
    fates.into_iter().collect::<Vec<_>>().join(", ")
}

fn fate(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Sent => "sent".to_owned(),
        Delivery::Mounted { from } => format!("mounted from {from}"),
        Delivery::Skipped => "skipped, it was there".to_owned(),
    }
}

/// The bytes of blobs that were sent to each repository.
pub fn sent(pushed: &[PushReport]) -> Vec<(String, u64)> {
    let sent = pushed.iter().map(|report| {
        let blobs = report.blobs.iter().filter(|blob| blob.delivery == Delivery::Sent);
        (report.target.to_string(), total_size(blobs.map(|blob| &blob.descriptor)))
    });
    sent.collect()
}

/// Every name under which a push left the image, by tag and digest.
pub fn pushed_names(pushed: &[PushReport]) -> Vec<String> {
    let names = pushed.iter().flat_map(|report| match report.tags.as_slice() {
        [] => vec![format!("{}@{}", report.target, report.digest)],
        tags => tags.iter().map(|tag| format!("{}:{tag}@{}", report.target, report.digest)).collect(),
    });
    names.collect()
}

/// What a push did, for machines.
pub fn push_json(report: &PushReport) -> Value {
    let blobs = report.blobs.iter().map(|blob| {
        let (delivery, from) = match &blob.delivery {
            Delivery::Sent => ("sent", None),
            Delivery::Mounted { from } => ("mounted", Some(from.to_string())),
            Delivery::Skipped => ("skipped", None),
        };
        let (digest, size) = (blob.descriptor.digest, blob.descriptor.size);
        json!({"digest": digest, "size": size, "delivery": delivery, "from": from})
    });
    let blobs: Vec<_> = blobs.collect();
    json!({"repository": report.target.to_string(), "digest": report.digest, "tags": report.tags, "blobs": blobs})
}
