//! The way through a manifest or an index, to all that it names.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    Document, Graph, MAX_DEPTH, MAX_DOCUMENTS, MAX_DOCUMENTS_BYTES, MAX_LAYERS, check_limit, is_document,
};
use crate::digest::Digest;
use crate::oci::Descriptor;
use crate::source::{ImageSource, SourceError, check, parse, two_things};

/// All that hangs on a document of `source`.
pub(super) fn walk(
    source: &dyn ImageSource,
    descriptor: Descriptor,
    bytes: Vec<u8>,
) -> Result<Graph, SourceError> {
    let mut walk = Walk::new(source);
    let root = Document { descriptor, bytes };
    walk.visit(&root, 1)?;
    Ok(Graph {
        layers: walk.layers.items,
        configs: walk.configs.items,
        below: walk.documents.items,
        root,
        attached: Vec::new(),
    })
}

/// Things in the order in which they were found, each once.
struct Found<T> {
    items: Vec<T>,
    seen: BTreeSet<Digest>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { items: Vec::new(), seen: BTreeSet::new() }
    }
}

impl<T> Found<T> {
    fn add(&mut self, digest: Digest, item: impl FnOnce() -> T) {
        if self.seen.insert(digest) {
            self.items.push(item());
        }
    }
}

/// What a manifest or an index may name. Both at once is refused: two readers would see two
/// images.
#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

struct Walk<'a> {
    source: &'a dyn ImageSource,
    layers: Found<Descriptor>,
    configs: Found<Descriptor>,
    documents: Found<Document>,
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ImageSource) -> Self {
        let (layers, configs, documents) = (Found::default(), Found::default(), Found::default());
        Self { source, layers, configs, documents, bytes: 0 }
    }

    /// Notes all that a document names. The document itself is noted by who named it.
    fn visit(&mut self, document: &Document, depth: usize) -> Result<(), SourceError> {
        check(self.source, "manifest", &document.descriptor, &document.bytes)?;
        self.bytes += document.bytes.len() as u64;
        self.limit("documents' bytes", self.bytes, MAX_DOCUMENTS_BYTES)?;
        self.limit("depth of indexes", depth as u64, MAX_DEPTH as u64)?;
        let links: Links = parse(self.source, "manifest", &document.bytes)?;
        let (manifests, layers) = (links.manifests, links.layers);
        if manifests.is_some() && (layers.is_some() || links.config.is_some()) {
            return Err(two_things(self.source, &document.descriptor));
        }
        for child in manifests.into_iter().flatten() {
            match is_document(&child.media_type) {
                true => self.descend(child, depth + 1)?,
                false => self.layer(child)?,
            }
        }
        layers.into_iter().flatten().try_for_each(|layer| self.layer(layer))?;
        if let Some(config) = links.config {
            self.configs.add(config.digest, || config);
        }
        Ok(())
    }

    fn descend(&mut self, child: Descriptor, depth: usize) -> Result<(), SourceError> {
        if self.documents.seen.contains(&child.digest) {
            return Ok(());
        }
        self.limit("manifests", self.documents.items.len() as u64 + 1, MAX_DOCUMENTS as u64)?;
        let bytes = self.source.manifest(&child)?;
        let document = Document { descriptor: child, bytes };
        self.visit(&document, depth)?;
        self.documents.add(document.descriptor.digest, || document);
        Ok(())
    }

    fn layer(&mut self, layer: Descriptor) -> Result<(), SourceError> {
        if !is_elsewhere(&layer) {
            self.layers.add(layer.digest, || layer);
        }
        self.limit("layers", self.layers.items.len() as u64, MAX_LAYERS as u64)
    }

    fn limit(&self, what: &'static str, size: u64, limit: u64) -> Result<(), SourceError> {
        check_limit(self.source, what, size, limit)
    }
}

/// Windows' base layers: their licence forbids to pass them on, and who needs them follows `urls`.
fn is_elsewhere(layer: &Descriptor) -> bool {
    let is_restricted = ["nondistributable", "foreign"].iter().any(|word| layer.media_type.contains(word));
    is_restricted
        && layer.extra.get("urls").and_then(|urls| urls.as_array()).is_some_and(|urls| !urls.is_empty())
}
