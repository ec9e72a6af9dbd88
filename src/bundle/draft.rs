//! Putting a bundle together: its documents, and where each of its blobs is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carafe_builder::door::{Bodies, Record};
use carafe_builder::git::Store;
use carafe_builder::lock::{Lock, PinnedApp};
use carafe_layers::digest::{Digest, Hashing};
use carafe_layers::graph::{Document, Graph};
use carafe_layers::gzip::ParallelGzip;
use carafe_layers::json::canonical_json;
use carafe_layers::oci::{Descriptor, Extra, Index, Manifest, StringMap, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, ResolvedImage, SourceError};

use super::contents::{
    BODY, BUNDLE_TYPE, COMMIT, CONTENTS_CONFIG, CONTENTS_TYPE, Contents, IMAGE_INDEX, ImageEntry, LOCK,
    RECORD, VERSION,
};
use super::error::BundleError;

/// What goes into a bundle.
pub struct Ingredients<'a> {
    /// The lock.
    pub lock: &'a Lock,
    /// The record that it names.
    pub record: &'a Record,
    /// The lock's apps, in `commits`.
    pub apps: &'a [PinnedApp],
    /// The lock's images, for one platform, and where they are.
    pub images: &'a [(ResolvedImage, Arc<dyn ImageSource>)],
    /// Where the commits are.
    pub commits: &'a Store,
    /// Where the record's bodies are.
    pub bodies: &'a Bodies,
}

/// A bundle that is not written yet: its documents, and where its blobs are. Equal ingredients
/// make equal documents, so the same digest, on every machine.
pub struct Draft {
    graph: Graph,
    documents: BTreeMap<Digest, Vec<u8>>,
    origins: BTreeMap<Digest, Origin>,
    bodies: Bodies,
}

/// Where a blob is.
enum Origin {
    Memory(Vec<u8>),
    File(PathBuf),
    Bodies,
    Image(Arc<dyn ImageSource>),
}

impl Draft {
    /// Packs the commits into `scratch`, an empty folder, and reads the images' documents. Fails
    /// if a body is not in the store.
    pub fn gather(ingredients: &Ingredients<'_>, scratch: &Path) -> Result<Self, BundleError> {
        let mut draft = Self {
            graph: nothing(),
            documents: BTreeMap::new(),
            origins: BTreeMap::new(),
            bodies: ingredients.bodies.clone(),
        };
        let mut blobs = Blobs::default();
        let lock = draft.memory(LOCK, ingredients.lock.to_toml().into_bytes());
        let record = draft.memory(RECORD, ingredients.record.to_bytes());
        blobs.add(&lock);
        blobs.add(&record);
        let mut images = BTreeMap::new();
        for (image, source) in ingredients.images {
            images.insert(image.root.digest, draft.image(image, source, &mut blobs)?);
        }
        let mut commits = BTreeMap::new();
        for app in ingredients.apps {
            let pack = draft.commit(app, ingredients.commits, scratch)?;
            blobs.add(&pack);
            commits.insert(app.locked.commit.clone(), pack.digest);
        }
        draft.record_bodies(ingredients.record, &mut blobs)?;
        let manifests: BTreeMap<Digest, Descriptor> = images
            .values()
            .map(|entry: &ImageEntry| (entry.manifest.digest, entry.manifest.clone()))
            .collect();
        let contents =
            Contents { version: VERSION, lock: lock.digest, record: record.digest, commits, images };
        let root = draft.top(&contents, blobs.list, manifests.into_values())?;
        let bytes = draft.documents.get(&root.digest).cloned().unwrap_or_default();
        draft.graph.root = Document { descriptor: root, bytes };
        draft.graph = Graph::read(&draft)?;
        Ok(draft)
    }

    /// The digest of the bundle.
    pub fn digest(&self) -> Digest {
        self.graph.root.descriptor.digest
    }

    /// Its documents and blobs; the blobs are read from the draft itself.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether a blob is one without which nobody knows what a bundle is; a delta has them too.
    pub(super) fn is_essential(&self, digest: &Digest) -> bool {
        matches!(self.origins.get(digest), Some(Origin::Memory(_)))
    }

    fn memory(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.origins.insert(descriptor.digest, Origin::Memory(bytes));
        descriptor
    }

    fn document(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.documents.insert(descriptor.digest, bytes);
        descriptor
    }

    fn image(
        &mut self,
        image: &ResolvedImage,
        source: &Arc<dyn ImageSource>,
        blobs: &mut Blobs,
    ) -> Result<ImageEntry, BundleError> {
        let manifest = plain(&image.descriptor);
        self.documents.insert(manifest.digest, image.manifest_bytes.clone());
        self.memory(&image.manifest.config.media_type, image.config_bytes.clone());
        for layer in &image.manifest.layers {
            self.origins.entry(layer.digest).or_insert_with(|| Origin::Image(Arc::clone(source)));
        }
        if image.root.digest != manifest.digest {
            blobs.add(&self.memory(IMAGE_INDEX, root_bytes(image, &**source)?));
        }
        Ok(ImageEntry { root: plain(&image.root), manifest })
    }

    fn commit(
        &mut self,
        app: &PinnedApp,
        commits: &Store,
        scratch: &Path,
    ) -> Result<Descriptor, BundleError> {
        let path = scratch.join(format!("{}.pack.gz", app.locked.commit));
        let failed = |verb| {
            let path = path.display().to_string();
            move |source| BundleError::Io { verb, path, source }
        };
        let file = File::create(&path).map_err(failed("create"))?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let mut gzip = ParallelGzip::new(Hashing::new(file), threads).map_err(failed("write"))?;
        commits.export(&app.checkout, &mut gzip)?;
        let (_, digest, size) = gzip.finish().map_err(failed("write"))?.finish();
        self.origins.insert(digest, Origin::File(path));
        Ok(Descriptor::new(COMMIT, digest, size))
    }

    /// An empty body is no blob: not every registry takes one.
    fn record_bodies(&mut self, record: &Record, blobs: &mut Blobs) -> Result<(), BundleError> {
        let mut missing = Vec::new();
        for (digest, size) in record.bodies().into_iter().filter(|(_, size)| *size > 0) {
            if !self.bodies.has(&digest) {
                missing.push(digest);
            }
            self.origins.entry(digest).or_insert(Origin::Bodies);
            blobs.add(&Descriptor::new(BODY, digest, size));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(BundleError::NoBodies { blobs: missing }),
        }
    }

    /// The manifest of the contents, and the index over it and the images'.
    fn top(
        &mut self,
        contents: &Contents,
        layers: Vec<Descriptor>,
        images: impl Iterator<Item = Descriptor>,
    ) -> Result<Descriptor, BundleError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: self.memory(CONTENTS_CONFIG, canonical_json(contents)),
            layers,
            annotations: StringMap::new(),
            extra: artifact_type(CONTENTS_TYPE),
        };
        let bytes = canonical_json(&manifest);
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(BundleError::TooLarge { size: bytes.len() as u64, limit: MAX_DOCUMENT_BYTES });
        }
        let mut listing = self.document(media_type::MANIFEST, bytes);
        listing.extra = artifact_type(CONTENTS_TYPE);
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests: std::iter::once(listing).chain(images).collect(),
            annotations: StringMap::new(),
            extra: artifact_type(BUNDLE_TYPE),
        };
        Ok(self.document(media_type::INDEX, canonical_json(&index)))
    }
}

impl ImageSource for Draft {
    fn name(&self) -> String {
        "the new bundle".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((self.graph.root.descriptor.clone(), self.graph.root.bytes.clone()))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.documents.get(&descriptor.digest).cloned().ok_or_else(|| self.lacks(descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let failed =
            |source| SourceError::Io { path: format!("{} of {}", descriptor.digest, self.name()), source };
        match self.origins.get(&descriptor.digest) {
            Some(Origin::Memory(bytes)) => Ok(Box::new(Cursor::new(bytes.clone()))),
            Some(Origin::File(path)) => Ok(Box::new(File::open(path).map_err(failed)?)),
            Some(Origin::Image(source)) => source.blob(descriptor),
            Some(Origin::Bodies) => {
                let body = self.bodies.open(&descriptor.digest);
                let body = body.map_err(|error| SourceError::Transport(Box::new(error)))?;
                Ok(Box::new(body.ok_or_else(|| self.lacks(descriptor))?))
            }
            None => Err(self.lacks(descriptor)),
        }
    }
}

impl Draft {
    fn lacks(&self, descriptor: &Descriptor) -> SourceError {
        SourceError::NotFound { what: format!("blob {}", descriptor.digest), image: self.name() }
    }
}

/// Blobs in order, each once.
#[derive(Default)]
struct Blobs {
    list: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

impl Blobs {
    fn add(&mut self, blob: &Descriptor) {
        if self.seen.insert(blob.digest) {
            self.list.push(blob.clone());
        }
    }
}

/// What stands in a draft until its documents are made.
fn nothing() -> Graph {
    let root = Document { descriptor: Descriptor::of(media_type::INDEX, b""), bytes: Vec::new() };
    Graph { layers: Vec::new(), configs: Vec::new(), below: Vec::new(), root, attached: Vec::new() }
}

fn artifact_type(kind: &str) -> Extra {
    Extra::from([("artifactType".to_owned(), kind.into())])
}

/// Without what differs between the places that an image can be read from.
fn plain(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size)
}

fn root_bytes(image: &ResolvedImage, source: &dyn ImageSource) -> Result<Vec<u8>, SourceError> {
    let (_, bytes) = source.root()?;
    let got = Digest::of(&bytes);
    if got != image.root.digest {
        let (what, image, wanted) = ("index", source.name(), image.root.digest);
        return Err(SourceError::DigestMismatch { what, image, wanted, got });
    }
    Ok(bytes)
}
