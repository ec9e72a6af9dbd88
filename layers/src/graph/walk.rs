//! Finds everything that a manifest or an index references.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::limits::{MAX_DEPTH, MAX_DOCUMENTS, MAX_DOCUMENTS_BYTES, MAX_LAYERS, check_limit};
use crate::digest::Digest;
use crate::oci::{Descriptor, Document, media_type};
use crate::source::{ImageSource, SourceError, ambiguous, check, parse};

/// Everything below a document, each once, in the order in which it was found.
pub(super) struct Found {
    pub layers: Vec<Descriptor>,
    pub configs: Vec<Descriptor>,
    pub documents: Vec<Document>,
}

/// Everything that `root`, a document of `source`, references.
pub(super) fn walk(source: &dyn ImageSource, root: &Document) -> Result<Found, SourceError> {
    let mut walk = Walk::new(source);
    walk.visit(root, 1)?;
    let Walk { layers, configs, documents, .. } = walk;
    Ok(Found { layers: layers.items, configs: configs.items, documents: documents.items })
}

/// Items in the order in which they were added, each once.
struct Unique<T> {
    items: Vec<T>,
    seen: BTreeSet<Digest>,
}

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self { items: Vec::new(), seen: BTreeSet::new() }
    }
}

impl<T> Unique<T> {
    fn add(&mut self, digest: Digest, item: impl FnOnce() -> T) {
        if self.seen.insert(digest) {
            self.items.push(item());
        }
    }
}

/// The references of a manifest or an index. A document with the members of both is rejected: two
/// readers would see two images.
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
    layers: Unique<Descriptor>,
    configs: Unique<Descriptor>,
    documents: Unique<Document>,
    /// Total size of the documents.
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a dyn ImageSource) -> Self {
        let (layers, configs, documents) = (Unique::default(), Unique::default(), Unique::default());
        Self { source, layers, configs, documents, bytes: 0 }
    }

    /// Adds everything that `document` references. Its caller adds the document itself.
    fn visit(&mut self, document: &Document, depth: usize) -> Result<(), SourceError> {
        check(self.source, "manifest", &document.descriptor, &document.bytes)?;
        self.bytes += document.bytes.len() as u64;
        self.limit("total bytes of the manifests", self.bytes, MAX_DOCUMENTS_BYTES)?;
        self.limit("depth of the indexes", depth as u64, MAX_DEPTH as u64)?;
        let links: Links = parse(self.source, "manifest", &document.bytes)?;
        let (manifests, layers) = (links.manifests, links.layers);
        if manifests.is_some() && (layers.is_some() || links.config.is_some()) {
            return Err(ambiguous(self.source, &document.descriptor));
        }
        for child in manifests.into_iter().flatten() {
            match media_type::is_document(&child.media_type) {
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
        self.limit("number of manifests", self.documents.items.len() as u64 + 1, MAX_DOCUMENTS as u64)?;
        let bytes = self.source.manifest(&child)?;
        let document = Document { descriptor: child, bytes };
        self.visit(&document, depth)?;
        self.documents.add(document.descriptor.digest, || document);
        Ok(())
    }

    fn layer(&mut self, layer: Descriptor) -> Result<(), SourceError> {
        if !is_external(&layer) {
            self.layers.add(layer.digest, || layer);
        }
        self.limit("number of layers", self.layers.items.len() as u64, MAX_LAYERS as u64)
    }

    fn limit(&self, what: &'static str, size: u64, limit: u64) -> Result<(), SourceError> {
        check_limit(self.source, what, size, limit)
    }
}

/// Whether it is a non-distributable layer with URLs (base layers of Windows): its license forbids
/// redistribution, and runtimes fetch it from its `urls`.
fn is_external(layer: &Descriptor) -> bool {
    let is_restricted = ["nondistributable", "foreign"].iter().any(|word| layer.media_type.contains(word));
    is_restricted
        && layer.extra.get("urls").and_then(|urls| urls.as_array()).is_some_and(|urls| !urls.is_empty())
}
