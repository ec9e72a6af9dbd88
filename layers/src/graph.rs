//! Everything that a manifest or an index leads to, in the order in which it has to be stored.

mod walk;

use std::collections::{BTreeMap, BTreeSet};

use self::walk::walk;
use crate::digest::Digest;
use crate::oci::{Descriptor, media_type};
use crate::referrers::{self, Referrer};
use crate::source::{ImageSource, ResolvedImage, SourceError};

/// So deep may indexes lie in each other, the manifests at the bottom included.
pub const MAX_DEPTH: usize = 8;
/// So many manifests and indexes may hang on one root.
pub const MAX_DOCUMENTS: usize = 1024;
/// So many bytes may they have together: they are held in memory.
pub const MAX_DOCUMENTS_BYTES: u64 = 32 << 20;
/// So many layers, and blobs that are neither layer nor config, may hang on one root.
pub const MAX_LAYERS: usize = 100_000;

/// A manifest or an index, in its exact bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// Its bytes, verified.
    pub bytes: Vec<u8>,
}

/// A manifest or an index with everything below it. Blobs may be of any media type: what a
/// manifest names is brought along, whether we know what it is or not.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    /// The layers, and whatever else is no config, each once.
    pub layers: Vec<Descriptor>,
    /// The configs, each once.
    pub configs: Vec<Descriptor>,
    /// The manifests and indexes below the root, each once, and after all that it names.
    pub below: Vec<Document>,
    /// What it all hangs on.
    pub root: Document,
    /// Manifests that refer to one of those above (see [`Self::attach`]), in the order in which
    /// they have to be stored: after the root.
    pub attached: Vec<Document>,
}

impl Graph {
    /// All that `source` stands for: every platform of an index.
    ///
    /// Fails if a document does not have the digest that names it, or if it is more than the
    /// limits above. Not followed: `subject` (it points up), and layers that may not be passed on
    /// and say where they are to be had.
    pub fn read(source: &dyn ImageSource) -> Result<Self, SourceError> {
        let (descriptor, bytes) = source.root()?;
        walk(source, descriptor, bytes)
    }

    /// The same for a manifest or index of `source` that is not its root.
    pub fn at(source: &dyn ImageSource, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let bytes = source.manifest(descriptor)?;
        walk(source, descriptor.clone(), bytes)
    }

    /// One image, whose documents were read already.
    pub fn of(image: &ResolvedImage) -> Self {
        let mut layers = Vec::new();
        add_new(&mut layers, image.manifest.layers.clone(), |layer| layer.digest);
        let root = Document { descriptor: image.descriptor.clone(), bytes: image.manifest_bytes.clone() };
        let configs = vec![image.manifest.config.clone()];
        Self { layers, configs, below: Vec::new(), root, attached: Vec::new() }
    }

    /// `root` above all of `parts`.
    pub fn above(root: Document, parts: impl IntoIterator<Item = Self>) -> Self {
        let (layers, configs, below, attached) = Default::default();
        let mut graph = Self { layers, configs, below, root, attached };
        for mut part in parts {
            let attached = std::mem::take(&mut part.attached);
            let documents = graph.take_blobs(part);
            add_new(&mut graph.below, documents, |document| document.descriptor.digest);
            add_new(&mut graph.attached, attached, |document| document.descriptor.digest);
        }
        graph
    }

    /// Adds what refers to any of its manifests, and what refers to that, as far as `source`
    /// knows of it.
    pub fn attach(&mut self, source: &dyn ImageSource) -> Result<(), SourceError> {
        let mut subjects: Vec<Digest> = self.documents().map(|found| found.descriptor.digest).collect();
        let mut next = 0;
        while let Some(subject) = subjects.get(next).copied() {
            next += 1;
            for referrer in source.referrers(&subject)? {
                if subjects.contains(&referrer.digest) {
                    continue;
                }
                check_limit(source, "referrers", subjects.len() as u64 + 1, MAX_DOCUMENTS as u64)?;
                let documents = self.take_blobs(Self::at(source, &referrer)?);
                subjects.extend(documents.iter().map(|document| document.descriptor.digest));
                add_new(&mut self.attached, documents, |document| document.descriptor.digest);
                let bytes = self.documents().map(|document| document.bytes.len() as u64).sum();
                check_limit(source, "documents' bytes", bytes, MAX_DOCUMENTS_BYTES)?;
            }
        }
        Ok(())
    }

    /// The lists of what is attached, each with the name under which it is found; for where
    /// nobody keeps track of referrers.
    pub fn referrer_lists(&self) -> Vec<(String, Document)> {
        let mut lists: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for referrer in self.attached.iter().filter_map(Referrer::of) {
            lists.entry(referrer.subject).or_default().push(referrer.descriptor);
        }
        let named = |(subject, list)| (referrers::tag(&subject), referrers::list(list));
        lists.into_iter().map(named).collect()
    }

    /// Adds a part's blobs, and gives its documents.
    fn take_blobs(&mut self, part: Self) -> Vec<Document> {
        add_new(&mut self.layers, part.layers, |blob| blob.digest);
        add_new(&mut self.configs, part.configs, |blob| blob.digest);
        part.below.into_iter().chain([part.root]).collect()
    }

    /// Every blob, layers first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain(&self.configs)
    }

    /// Every manifest and index, each after all that it names.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.below.iter().chain([&self.root]).chain(&self.attached)
    }
}

/// Adds those whose digest is not there yet.
fn add_new<T>(items: &mut Vec<T>, more: Vec<T>, digest: impl Fn(&T) -> Digest) {
    let mut seen: BTreeSet<Digest> = items.iter().map(&digest).collect();
    items.extend(more.into_iter().filter(|item| seen.insert(digest(item))));
}

/// Whether it is a manifest or an index, which registries keep apart from blobs.
pub fn is_document(media_type: &str) -> bool {
    is_index(media_type) || matches!(media_type, media_type::MANIFEST | media_type::DOCKER_MANIFEST)
}

/// Whether it is an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::INDEX | media_type::DOCKER_INDEX)
}

fn check_limit(
    source: &dyn ImageSource,
    what: &'static str,
    size: u64,
    limit: u64,
) -> Result<(), SourceError> {
    if size > limit {
        return Err(SourceError::TooLarge { what, image: source.name(), size, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
