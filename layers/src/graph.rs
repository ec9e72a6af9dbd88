//! Everything that a manifest or an index leads to, in the order in which it has to be stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::digest::Digest;
use crate::oci::{Descriptor, media_type};
use crate::referrers::{self, Referrer};
use crate::source::{ImageSource, ResolvedImage, SourceError, check, parse};

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
        Self::walk(source, descriptor, bytes)
    }

    /// The same for a manifest or index of `source` that is not its root.
    pub fn at(source: &dyn ImageSource, descriptor: &Descriptor) -> Result<Self, SourceError> {
        let bytes = source.manifest(descriptor)?;
        Self::walk(source, descriptor.clone(), bytes)
    }

    fn walk(source: &dyn ImageSource, descriptor: Descriptor, bytes: Vec<u8>) -> Result<Self, SourceError> {
        let mut walk = Walk::new(source);
        let root = Document { descriptor, bytes };
        walk.visit(&root, 1)?;
        Ok(Self {
            layers: walk.layers.items,
            configs: walk.configs.items,
            below: walk.documents.items,
            root,
            attached: Vec::new(),
        })
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
            let reason = format!("{} is a manifest and an index at once", document.descriptor.digest);
            return Err(SourceError::Invalid { image: self.source.name(), reason });
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

/// Windows' base layers: their licence forbids to pass them on, and who needs them follows `urls`.
fn is_elsewhere(layer: &Descriptor) -> bool {
    let is_restricted = ["nondistributable", "foreign"].iter().any(|word| layer.media_type.contains(word));
    is_restricted
        && layer.extra.get("urls").and_then(|urls| urls.as_array()).is_some_and(|urls| !urls.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    /// Documents and blobs in memory; the one added last is the root.
    #[derive(Default)]
    struct Memory {
        all: BTreeMap<Digest, Vec<u8>>,
        referrers: BTreeMap<Digest, Vec<Descriptor>>,
        root: Option<Descriptor>,
    }

    impl Memory {
        fn add(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
            let descriptor = Descriptor::of(media_type, bytes);
            self.all.insert(descriptor.digest, bytes.to_vec());
            self.root = Some(descriptor.clone());
            descriptor
        }

        fn image(&mut self, kind: &str, layers: &[Descriptor]) -> Descriptor {
            let config = Descriptor::of("application/x-unheard-of", kind.as_bytes());
            let text = serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers});
            self.add(media_type::MANIFEST, text.to_string().as_bytes())
        }

        fn index(&mut self, manifests: &[Descriptor]) -> Descriptor {
            let text = serde_json::json!({"schemaVersion": 2, "manifests": manifests});
            self.add(media_type::INDEX, text.to_string().as_bytes())
        }
    }

    impl ImageSource for Memory {
        fn name(&self) -> String {
            "memory".to_owned()
        }

        fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
            let root = self.root.clone().unwrap();
            let bytes = self.manifest(&root)?;
            Ok((root, bytes))
        }

        fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
            Ok(self.all[&descriptor.digest].clone())
        }

        fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
            Ok(Box::new(Cursor::new(self.manifest(descriptor)?)))
        }

        fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
            Ok(self.referrers.get(subject).cloned().unwrap_or_default())
        }
    }

    fn blob(name: &str) -> Descriptor {
        Descriptor::of("application/x-blob", name.as_bytes())
    }

    #[test]
    fn children_come_before_parents_and_everything_once() {
        let mut memory = Memory::default();
        let one = memory.image("a", &[blob("shared"), blob("one")]);
        let two = memory.image("b", &[blob("shared")]);
        let inner = memory.index(&[one.clone(), two.clone()]);
        // What is no manifest is a blob, as in build caches.
        let root = memory.index(&[two.clone(), inner.clone(), one.clone(), blob("loose")]);
        let graph = Graph::read(&memory).unwrap();
        let order: Vec<Digest> = graph.documents().map(|document| document.descriptor.digest).collect();
        assert_eq!(order, [two.digest, one.digest, inner.digest, root.digest]);
        let config = |kind: &str| Descriptor::of("application/x-unheard-of", kind.as_bytes());
        assert_eq!(graph.layers, [blob("shared"), blob("one"), blob("loose")]);
        assert_eq!(graph.configs, [config("b"), config("a")]);
        assert_eq!(Graph::at(&memory, &inner).unwrap().root.descriptor, inner);
    }

    #[test]
    fn parts_under_a_new_root_are_the_whole() {
        let mut memory = Memory::default();
        let one = memory.image("a", &[blob("shared")]);
        let two = memory.image("b", &[blob("shared")]);
        memory.index(&[one.clone(), two.clone()]);
        let whole = Graph::read(&memory).unwrap();
        let parts = [one, two].map(|part| Graph::at(&memory, &part).unwrap());
        assert_eq!(Graph::above(whole.root.clone(), parts), whole);
    }

    #[test]
    fn a_document_is_verified_and_is_one_thing() {
        let mut memory = Memory::default();
        let one = memory.image("a", &[]);
        memory.index(std::slice::from_ref(&one));
        memory.all.get_mut(&one.digest).unwrap()[0] = b' ';
        assert!(matches!(Graph::read(&memory), Err(SourceError::DigestMismatch { .. })));

        let both = serde_json::json!({"manifests": [], "config": blob("a"), "layers": []});
        memory.add(media_type::MANIFEST, both.to_string().as_bytes());
        assert!(matches!(Graph::read(&memory), Err(SourceError::Invalid { .. })));
    }

    #[test]
    fn indexes_in_indexes_and_manifests_have_limits() {
        let mut memory = Memory::default();
        let mut entry = memory.image("a", &[]);
        for _ in 1..MAX_DEPTH {
            entry = memory.index(&[entry]);
        }
        Graph::read(&memory).unwrap();
        memory.index(&[entry]);
        assert!(matches!(Graph::read(&memory), Err(SourceError::TooLarge { limit: 8, .. })));

        let many: Vec<_> = (0..=MAX_DOCUMENTS).map(|n| memory.image(&n.to_string(), &[])).collect();
        memory.index(&many[1..]);
        Graph::read(&memory).unwrap();
        memory.index(&many);
        assert!(matches!(Graph::read(&memory), Err(SourceError::TooLarge { limit: 1024, .. })));
    }

    #[test]
    fn what_refers_to_a_part_comes_along_and_what_refers_to_that() {
        let mut memory = Memory::default();
        let image = memory.image("a", &[blob("layer")]);
        let root = memory.index(std::slice::from_ref(&image));
        let sbom = memory.image("sbom", &[blob("spdx")]);
        let signature = memory.image("signature", &[blob("bytes")]);
        memory.referrers.insert(image.digest, vec![sbom.clone()]);
        // A liar's list may name the subject itself, and go in circles.
        memory.referrers.insert(sbom.digest, vec![signature.clone(), image.clone()]);
        memory.referrers.insert(signature.digest, vec![sbom.clone()]);
        memory.root = Some(root.clone());
        let mut graph = Graph::read(&memory).unwrap();
        graph.attach(&memory).unwrap();
        let attached: Vec<_> = graph.attached.iter().map(|document| &document.descriptor).collect();
        assert_eq!(attached, [&sbom, &signature]);
        assert_eq!(graph.layers, [blob("layer"), blob("spdx"), blob("bytes")]);
        assert_eq!(graph.root.descriptor, root);
    }

    #[test]
    fn layers_that_may_not_be_passed_on_stay_where_they_are() {
        let mut memory = Memory::default();
        let mut layer = blob("windows");
        layer.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
        layer.extra.insert("urls".to_owned(), serde_json::json!(["https://example.com/layer"]));
        let without_address = Descriptor::new(&layer.media_type, blob("other").digest, 5);
        memory.image("a", &[layer, without_address.clone()]);
        assert_eq!(Graph::read(&memory).unwrap().layers, [without_address]);
    }
}
