//! [`BuiltTree`] → [`PackedLayer`]s: walk, plan, and one pass over each group of entries.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use carafe_builder::image_tree::BuiltTree;
use carafe_builder::lock::Lock;
use carafe_builder::progress::{Stage, Unit};
use carafe_builder::secret::Redactor;
use carafe_builder::spec::format_bytes;
use carafe_layers::layout::LayoutWriter;
use carafe_layers::pack::{PackOptions, PackedLayer, pack as pack_layer};
use carafe_layers::plan::{Group, plan};
use carafe_layers::walk::walk;

use crate::context::Context;

/// Maximum number of layers above the base image's. Container runtimes support up to 127 layers in total.
const MAX_OWN_LAYERS: NonZeroUsize = NonZeroUsize::new(60).unwrap();

/// Packs the tree into layers in `layout`, the lowest first. `packed` is called for each layer as soon as it
/// is complete. A secret in a layer is an error.
pub fn pack(
    tree: &BuiltTree,
    lock: &Lock,
    redactor: &Redactor,
    layout: &Path,
    packed: &dyn Fn(&PackedLayer, &LayoutWriter),
    context: &Context,
) -> miette::Result<Vec<PackedLayer>> {
    let writer = LayoutWriter::create(layout)?;
    let secrets: Vec<Vec<u8>> =
        redactor.secrets().iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
    let entries = walk(&tree.mappings, &tree.mtimes)?;
    let groups = plan(&entries, &tree.layers, MAX_OWN_LAYERS);
    let pack_one = |group: &Group| -> miette::Result<PackedLayer> {
        let task =
            context.progress.task(Stage::Pack, group.name.as_str(), Some(group.content_bytes()), Unit::Bytes);
        let layer = pack_layer(
            group,
            &writer,
            &PackOptions {
                format: lock.format_version,
                threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
                progress: &|bytes| task.advance(bytes),
                secrets: &secrets,
            },
        )?;
        task.finish(format!(
            "{} entries, {} to {}",
            layer.entries,
            format_bytes(layer.uncompressed),
            format_bytes(layer.descriptor.size)
        ));
        packed(&layer, &writer);
        Ok(layer)
    };
    groups.iter().map(pack_one).collect()
}
