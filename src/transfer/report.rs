//! The result of a push: rows of the layer table for people, and data for programs.

use std::collections::BTreeSet;

use carafe_layers::digest::Digest;
use carafe_layers::image::layer_names;
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::source::ResolvedImage;
use carafe_layers::text::escape_bytes;
use serde::Serialize;

use crate::images::ImageName;
use crate::output::LayerRow;
use crate::registry::{Delivery, PushReport, RegistryError};

/// The name of layers that Carafe did not add.
const BASE: &str = "base";

/// The result of a transfer: the image is at every destination, or only in some of the registries.
pub struct Delivered {
    /// The repositories that have the image, one report for each.
    pub pushed: Vec<PushReport>,
    /// Why the other registries do not have it.
    pub failure: Option<miette::Report>,
}

impl Delivered {
    /// Fails if no registry has the image.
    pub fn of(result: miette::Result<Vec<PushReport>>) -> miette::Result<Self> {
        let failure = match result {
            Ok(pushed) => return Ok(Self { pushed, failure: None }),
            Err(failure) => failure,
        };
        match failure.downcast_ref::<RegistryError>() {
            Some(RegistryError::PartialPush { done, .. }) => {
                Ok(Self { pushed: done.clone(), failure: Some(failure) })
            }
            _ => Err(failure),
        }
    }

    /// Every name of the image now, by tag and digest: those of `targets` on this machine, then those
    /// in registries.
    pub fn names(&self, digest: Digest, targets: &[ImageName]) -> Vec<String> {
        let local = targets.iter().filter(|target| target.reference().is_none());
        let local = local.map(|target| format!("{target}@{digest}"));
        local.chain(self.pushed.iter().flat_map(PushReport::names)).collect()
    }
}

/// One row for each layer of an image, with what the push did for it.
pub fn image_rows(image: &ResolvedImage, pushed: &[PushReport]) -> Vec<LayerRow> {
    layer_rows(layer_names(image).into_iter().zip(&image.manifest.layers), pushed)
}

/// One row for each layer. The names may come from an untrusted image; layers without one are the base
/// image's.
pub fn layer_rows<'l>(
    layers: impl Iterator<Item = (Option<&'l str>, &'l Descriptor)>,
    pushed: &[PushReport],
) -> Vec<LayerRow> {
    let row = |(name, layer): (Option<&str>, &Descriptor)| LayerRow {
        name: escape_bytes(name.unwrap_or(BASE).as_bytes()),
        size: layer.size,
        digest: layer.digest,
        delivery: deliveries(pushed, &layer.digest),
    };
    layers.map(row).collect()
}

/// What the push did for a blob in all repositories.
fn deliveries(pushed: &[PushReport], blob: &Digest) -> String {
    let blobs = pushed.iter().flat_map(|report| &report.blobs);
    let found = blobs.filter(|one| one.descriptor.digest == *blob);
    let deliveries: BTreeSet<String> = found.map(|one| delivery(&one.delivery)).collect();
    deliveries.into_iter().collect::<Vec<_>>().join(", ")
}

fn delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Sent => "sent".to_owned(),
        Delivery::Mounted { from } => format!("mounted from {from}"),
        Delivery::Skipped => "skipped: already present".to_owned(),
    }
}

/// The bytes of blobs that were sent to each repository.
pub fn sent_bytes(pushed: &[PushReport]) -> Vec<(String, u64)> {
    let sent = pushed.iter().map(|report| {
        let blobs = report.blobs.iter().filter(|blob| blob.delivery == Delivery::Sent);
        (report.target.to_string(), total_size(blobs.map(|blob| &blob.descriptor)))
    });
    sent.collect()
}

/// What a push did in one repository, for programs: `docs/json.md` describes it.
#[derive(Serialize)]
pub struct PushedData {
    repository: String,
    digest: Digest,
    tags: Vec<String>,
    blobs: Vec<BlobData>,
}

#[derive(Serialize)]
struct BlobData {
    digest: Digest,
    size: u64,
    delivery: &'static str,
    mounted_from: Option<String>,
}

impl PushedData {
    /// One for each report.
    pub fn list(pushed: &[PushReport]) -> Vec<Self> {
        pushed.iter().map(Self::of).collect()
    }

    fn of(report: &PushReport) -> Self {
        let blobs = report.blobs.iter().map(|blob| {
            let (delivery, mounted_from) = match &blob.delivery {
                Delivery::Sent => ("sent", None),
                Delivery::Mounted { from } => ("mounted", Some(from.to_string())),
                Delivery::Skipped => ("skipped", None),
            };
            let Descriptor { digest, size, .. } = blob.descriptor;
            BlobData { digest, size, delivery, mounted_from }
        });
        Self {
            repository: report.target.to_string(),
            digest: report.digest,
            tags: report.tags.clone(),
            blobs: blobs.collect(),
        }
    }
}
