//! A graph of documents that lie in memory.

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
