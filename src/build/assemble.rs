//! Layers → [`Image`]: the base image's config and manifest with the new layers, in the layout.

use std::path::Path;

use carafe_builder::image_tree::BuiltTree;
use carafe_builder::lock::Lock;
use carafe_builder::progress::{Stage, Unit};
use carafe_builder::spec::format_bytes;
use carafe_layers::image::{Image, ImageChanges, derive};
use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::{media_type, total_size};
use carafe_layers::pack::PackedLayer;
use miette::miette;

use super::fetch::Sources;
use crate::context::Context;

/// The label with the complete lock, which `carafe inspect --lock` prints.
pub const LOCK_LABEL: &str = "dev.carafe.lock";

/// Maximum size of the lock in a label, in bytes: container engines copy labels with every request.
pub const MAX_LOCK_LABEL_BYTES: usize = 64 << 10;

/// Writes the image's config and manifest into the layout, and its index last, which makes the image visible.
pub fn assemble(
    lock: &Lock,
    tree: &BuiltTree,
    layers: &[PackedLayer],
    sources: &Sources,
    layout: &Path,
    tags: &[String],
) -> miette::Result<Image> {
    let changes = with_lock(tree.changes.clone(), lock)?;
    let image = derive(&sources.base, layers, &changes)?;
    let writer = LayoutWriter::create(layout)?;
    writer.put_bytes(media_type::CONFIG, &image.config)?;
    writer.put_bytes(media_type::MANIFEST, &image.manifest)?;
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    writer.finish(&image.descriptor, &names)?;
    Ok(image)
}

fn with_lock(mut changes: ImageChanges, lock: &Lock) -> miette::Result<ImageChanges> {
    let text = lock.to_toml();
    if text.len() > MAX_LOCK_LABEL_BYTES {
        return Err(miette!(
            help = "build an image with fewer apps",
            "failed to write the lock into the image: it has {}, the maximum is 64 KiB",
            format_bytes(text.len() as u64)
        ));
    }
    changes.created = lock.source_date_epoch;
    changes.base_name = Some(lock.base_image.reference.clone());
    changes.labels.insert(LOCK_LABEL.to_owned(), text);
    Ok(changes)
}

/// Copies the base image's layers into the layout, so that it is complete. Returns the layout.
pub fn add_base(sources: &Sources, layout: &Path, context: &Context) -> miette::Result<LayoutWriter> {
    let writer = LayoutWriter::create(layout)?;
    let layers = &sources.base.manifest.layers;
    let total = total_size(layers);
    let task = context.progress.task(Stage::Pack, "base image", Some(total), Unit::Bytes);
    for layer in layers {
        if !writer.contains(layer) {
            writer.put_stream(
                layer,
                sources.base_source.blob(layer)?,
                Path::new(&sources.base_source.name()),
            )?;
        }
        task.advance(layer.size);
    }
    let noun = if layers.len() == 1 { "layer" } else { "layers" };
    task.finish(format!("{} {noun}", layers.len()));
    Ok(writer)
}
