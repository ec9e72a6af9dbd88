//! Graphs of documents in memory.

use super::*;
use crate::oci::media_type;
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
        let config = Descriptor::of("application/x-unknown", kind.as_bytes());
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
fn stores_children_before_parents_and_everything_once() {
    let mut memory = Memory::default();
    let one = memory.image("a", &[blob("shared"), blob("one")]);
    let two = memory.image("b", &[blob("shared")]);
    let inner = memory.index(&[one.clone(), two.clone()]);
    // An entry of an index that is not a manifest is a blob, as in build caches.
    let root = memory.index(&[two.clone(), inner.clone(), one.clone(), blob("loose")]);
    let graph = Graph::read(&memory).unwrap();
    let order: Vec<Digest> = graph.documents().map(|document| document.descriptor.digest).collect();
    assert_eq!(order, [two.digest, one.digest, inner.digest, root.digest]);
    let config = |kind: &str| Descriptor::of("application/x-unknown", kind.as_bytes());
    assert_eq!(graph.layers, [blob("shared"), blob("one"), blob("loose")]);
    assert_eq!(graph.configs, [config("b"), config("a")]);
    assert_eq!(Graph::at(&memory, &inner).unwrap().root.descriptor, inner);
}

#[test]
fn graphs_of_all_parts_under_their_root_are_the_complete_graph() {
    let mut memory = Memory::default();
    let one = memory.image("a", &[blob("shared")]);
    let two = memory.image("b", &[blob("shared")]);
    memory.index(&[one.clone(), two.clone()]);
    let complete = Graph::read(&memory).unwrap();
    let parts = [one, two].map(|part| Graph::at(&memory, &part).unwrap());
    assert_eq!(Graph::with_root(complete.root.clone(), parts), complete);
}

#[test]
fn rejects_a_wrong_digest_and_an_ambiguous_document() {
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
fn limits_the_depth_of_indexes_and_the_number_of_manifests() {
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
fn adds_referrers_of_every_document_and_their_referrers() {
    let mut memory = Memory::default();
    let image = memory.image("a", &[blob("layer")]);
    let root = memory.index(std::slice::from_ref(&image));
    let sbom = memory.image("sbom", &[blob("spdx")]);
    let signature = memory.image("signature", &[blob("bytes")]);
    memory.referrers.insert(image.digest, vec![sbom.clone()]);
    // A false list may name the subject itself, and form a circle.
    memory.referrers.insert(sbom.digest, vec![signature.clone(), image.clone()]);
    memory.referrers.insert(signature.digest, vec![sbom.clone()]);
    memory.root = Some(root.clone());
    let mut graph = Graph::read(&memory).unwrap();
    graph.add_referrers(&memory).unwrap();
    let referrers: Vec<_> = graph.referrers.iter().map(|document| &document.descriptor).collect();
    assert_eq!(referrers, [&sbom, &signature]);
    assert_eq!(graph.layers, [blob("layer"), blob("spdx"), blob("bytes")]);
    assert_eq!(graph.root.descriptor, root);
}

#[test]
fn omits_non_distributable_layers_that_have_urls() {
    let mut memory = Memory::default();
    let mut layer = blob("windows");
    layer.media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
    layer.extra.insert("urls".to_owned(), serde_json::json!(["https://example.com/layer"]));
    let without_urls = Descriptor::new(&layer.media_type, blob("other").digest, 5);
    memory.image("a", &[layer, without_urls.clone()]);
    assert_eq!(Graph::read(&memory).unwrap().layers, [without_urls]);
}
