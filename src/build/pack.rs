//! BuiltTree → Layers: walk, plan, and one pass over each group.

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
use crate::images::send_layer;
use crate::registry::PendingPush;

/// Layers that we put on top of the base at most. The base has its own, and 127 is the end.
const MAX_OWN_LAYERS: NonZeroUsize = NonZeroUsize::new(60).unwrap();

/// Packs the tree into layers of `layout`, bottom first; each goes ahead with `push` as soon as it
/// lies there. A secret in any of them is an error.
pub fn pack(
    tree: &BuiltTree,
    lock: &Lock,
    redactor: &Redactor,
    layout: &Path,
    push: Option<&PendingPush>,
    context: &Context,
) -> miette::Result<Vec<PackedLayer>> {
    let writer = LayoutWriter::create(layout)?;
    let secrets: Vec<Vec<u8>> =
        redactor.secrets().iter().map(|secret| secret.expose().as_bytes().to_vec()).collect();
    let entries = walk(&tree.grafts, &tree.mtimes)?;
    let groups = plan(&entries, &tree.layers, MAX_OWN_LAYERS);
    let pack_one = |group: &Group| -> miette::Result<PackedLayer> {
        let task =
            context.progress.task(Stage::Pack, group.name.as_str(), Some(group.content_bytes()), Unit::Bytes);
        let packed = pack_layer(
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
            packed.entries,
            format_bytes(packed.uncompressed),
            format_bytes(packed.descriptor.size)
        ));
        if let Some(push) = push {
            send_layer(push, &packed.descriptor, &writer);
        }
        Ok(packed)
    };
    groups.iter().map(pack_one).collect()
}
