//! A manifest or index with everything that it references, in the order in which it must be stored.

mod limits;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use self::limits::check_limit;
pub use self::limits::{MAX_DEPTH, MAX_DOCUMENTS, MAX_DOCUMENTS_BYTES, MAX_LAYERS};
use self::walk::walk;
use crate::digest::Digest;
use crate::oci::{Descriptor, Document};
use crate::referrers::{self, Referrer};
use crate::source::{ImageSource, ResolvedImage, SourceError};

/// A manifest or an index with everything that it references. Blobs may have any media type: all
/// that a manifest names is included, whether Carafe supports the type or not.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    /// The layers and all other blobs except configs, each once.
    pub layers: Vec<Descriptor>,
    /// The configs, each once.
    pub configs: Vec<Descriptor>,
    /// The manifests and indexes below the root, each once, and after everything that it names.
    pub children: Vec<Document>,
    /// The manifest or index that references all others.
    pub root: Document,
    /// Manifests that refer to one of the documents (see [`Self::add_referrers`]), in the order in
    /// which they must be stored: after the root.
    pub referrers: Vec<Document>,
}

impl Graph {
    /// The complete graph of `source`: every platform of an index.
    ///
    /// Fails if a document does not have the digest that names it, or if a limit of this module is
    /// exceeded. Does not follow `subject` (it points to a parent), nor non-distributable layers that
    /// state the URLs of their content.
    pub fn read(source: &dyn ImageSource) -> Result<Self, SourceError> {
        let (descriptor, bytes) = source.root()?;
        Self::below(source, Document { descriptor, bytes })
    }

    /// [`Self::read`] for a manifest or index of `source` that is not its root.
    pub fn at(source: &dyn ImageSource, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let bytes = source.manifest(descriptor)?;
        Self::below(source, Document { descriptor: descriptor.clone(), bytes })
    }

    fn below(source: &dyn ImageSource, root: Document) -> Result<Self, SourceError> {
        let found = walk(source, &root)?;
        let (layers, configs, children) = (found.layers, found.configs, found.documents);
        Ok(Self { layers, configs, children, root, referrers: Vec::new() })
    }

    /// The graph of one image whose documents were already read.
    pub fn of(image: &ResolvedImage) -> Self {
        let mut layers = Vec::new();
        add_new(&mut layers, image.manifest.layers.clone(), |layer| layer.digest);
        let root = Document { descriptor: image.descriptor.clone(), bytes: image.manifest_bytes.clone() };
        let configs = vec![image.manifest.config.clone()];
        Self { layers, configs, children: Vec::new(), root, referrers: Vec::new() }
    }

    /// The graph of `root`, an index of all `parts`.
    pub fn with_root(root: Document, parts: impl IntoIterator<Item = Self>) -> Self {
        let (layers, configs, children, referrers) = Default::default();
        let mut graph = Self { layers, configs, children, root, referrers };
        for mut part in parts {
            let referrers = std::mem::take(&mut part.referrers);
            let documents = graph.take_blobs(part);
            add_new(&mut graph.children, documents, |document| document.descriptor.digest);
            add_new(&mut graph.referrers, referrers, |document| document.descriptor.digest);
        }
        graph
    }

    /// Adds the referrers of all its documents, and their referrers, that `source` lists.
    pub fn add_referrers(&mut self, source: &dyn ImageSource) -> Result<(), SourceError> {
        let mut subjects: Vec<Digest> = self.documents().map(|found| found.descriptor.digest).collect();
        let mut next = 0;
        while let Some(subject) = subjects.get(next).copied() {
            next += 1;
            for referrer in source.referrers(&subject)? {
                if subjects.contains(&referrer.digest) {
                    continue;
                }
                check_limit(source, "number of referrers", subjects.len() as u64 + 1, MAX_DOCUMENTS as u64)?;
                let documents = self.take_blobs(Self::at(source, &referrer)?);
                subjects.extend(documents.iter().map(|document| document.descriptor.digest));
                add_new(&mut self.referrers, documents, |document| document.descriptor.digest);
                let bytes = self.documents().map(|document| document.bytes.len() as u64).sum();
                check_limit(source, "total bytes of the manifests", bytes, MAX_DOCUMENTS_BYTES)?;
            }
        }
        Ok(())
    }

    /// The referrers lists, each with its tag of the referrers tag schema, for registries and layouts
    /// without the referrers API.
    pub fn referrer_lists(&self) -> Vec<(String, Document)> {
        let mut lists: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for referrer in self.referrers.iter().filter_map(Referrer::of) {
            lists.entry(referrer.subject).or_default().push(referrer.descriptor);
        }
        let named = |(subject, list)| (referrers::tag(&subject), referrers::list(list));
        lists.into_iter().map(named).collect()
    }

    /// Adds the blobs of `part`, and returns its documents.
    fn take_blobs(&mut self, part: Self) -> Vec<Document> {
        add_new(&mut self.layers, part.layers, |blob| blob.digest);
        add_new(&mut self.configs, part.configs, |blob| blob.digest);
        part.children.into_iter().chain([part.root]).collect()
    }

    /// Every blob, layers first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain(&self.configs)
    }

    /// Every manifest and index, each after everything that it names.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.children.iter().chain([&self.root]).chain(&self.referrers)
    }
}

/// Adds the items of `more` whose digest is new.
fn add_new<T>(items: &mut Vec<T>, more: Vec<T>, digest: impl Fn(&T) -> Digest) {
    let mut seen: BTreeSet<Digest> = items.iter().map(&digest).collect();
    items.extend(more.into_iter().filter(|item| seen.insert(digest(item))));
}

#[cfg(test)]
mod tests;
