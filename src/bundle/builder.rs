//! Assembles a bundle: its documents, and the location of each blob.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use carafe_builder::egress::{BodyStore, Recording};
use carafe_builder::git::Store;
use carafe_builder::lock::{Lock, PinnedApp};
use carafe_layers::digest::{Digest, Hashing};
use carafe_layers::graph::Graph;
use carafe_layers::gzip::ParallelGzip;
use carafe_layers::json::canonical_json;
use carafe_layers::oci::{Descriptor, Extra, Index, Manifest, StringMap, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, ResolvedImage, SourceError};

use super::blob_locations::{BlobLocation, BlobLocations};
use super::contents::{
    BODY, BUNDLE_TYPE, COMMIT, CONTENTS_CONFIG, CONTENTS_TYPE, Contents, IMAGE_INDEX, ImageEntry, LOCK,
    RECORDING, VERSION,
};
use super::error::BundleError;

/// The inputs of a bundle.
pub struct BundleInputs<'a> {
    /// The lock.
    pub lock: &'a Lock,
    /// The recording that the lock names.
    pub recording: &'a Recording,
    /// The apps of the lock; their commits are in `commits`.
    pub apps: &'a [PinnedApp],
    /// The images of the lock for one platform, each with its source.
    pub images: &'a [(ResolvedImage, Arc<dyn ImageSource>)],
    /// The commit store.
    pub commits: &'a Store,
    /// The store of the recorded response bodies.
    pub bodies: &'a BodyStore,
}

/// A bundle that is not written yet: its documents and the locations of its blobs. Equal inputs give
/// equal documents, and so the same digest, on every machine.
pub struct BundleBuilder {
    graph: Graph,
    locations: BlobLocations,
}

impl BundleBuilder {
    /// Packs the commits into `scratch`, an empty directory, and reads the documents of the images.
    /// Fails if a recorded response body is not in the store.
    pub fn gather(inputs: &BundleInputs<'_>, scratch: &Path) -> Result<Self, BundleError> {
        let mut gathering = Gathering::default();
        let lock = gathering.memory(LOCK, inputs.lock.to_toml().into_bytes());
        let recording = gathering.memory(RECORDING, inputs.recording.to_bytes());
        gathering.list(&lock);
        gathering.list(&recording);
        let mut images = BTreeMap::new();
        for (image, source) in inputs.images {
            images.insert(image.root.digest, gathering.image(image, source)?);
        }
        let mut commits = BTreeMap::new();
        for app in inputs.apps {
            let pack = gathering.commit(app, inputs.commits, scratch)?;
            commits.insert(app.locked.commit.clone(), pack.digest);
        }
        gathering.bodies(inputs.recording, inputs.bodies)?;
        let contents =
            Contents { version: VERSION, lock: lock.digest, record: recording.digest, commits, images };
        let root = gathering.root_index(&contents)?;
        let Gathering { documents, blobs, .. } = gathering;
        let locations = BlobLocations { root, documents, blobs, bodies: inputs.bodies.clone() };
        Ok(Self { graph: Graph::read(&locations)?, locations })
    }

    /// The digest of the bundle.
    pub fn digest(&self) -> Digest {
        self.graph.root.descriptor.digest
    }

    /// The graph of its documents and blobs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The source that its documents and blobs are read from.
    pub fn source(&self) -> &dyn ImageSource {
        &self.locations
    }

    /// Whether a blob is needed to read the bundle's documents: a delta contains these too.
    pub(super) fn is_essential(&self, digest: &Digest) -> bool {
        matches!(self.locations.blobs.get(digest), Some(BlobLocation::Memory(_)))
    }
}

/// A bundle while it is assembled.
#[derive(Default)]
struct Gathering {
    documents: BTreeMap<Digest, Vec<u8>>,
    blobs: BTreeMap<Digest, BlobLocation>,
    /// The layers of the contents manifest, in order, without duplicates.
    listed: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

impl Gathering {
    /// Adds a blob to the layers of the contents manifest.
    fn list(&mut self, blob: &Descriptor) {
        if self.seen.insert(blob.digest) {
            self.listed.push(blob.clone());
        }
    }

    fn memory(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.blobs.insert(descriptor.digest, BlobLocation::Memory(bytes));
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
    ) -> Result<ImageEntry, BundleError> {
        let manifest = plain(&image.descriptor);
        self.documents.insert(manifest.digest, image.manifest_bytes.clone());
        self.memory(&image.manifest.config.media_type, image.config_bytes.clone());
        for layer in &image.manifest.layers {
            self.blobs.entry(layer.digest).or_insert_with(|| BlobLocation::Image(Arc::clone(source)));
        }
        if image.root.digest != manifest.digest {
            let index = self.memory(IMAGE_INDEX, root_bytes(image, &**source)?);
            self.list(&index);
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
        self.blobs.insert(digest, BlobLocation::File(path));
        let pack = Descriptor::new(COMMIT, digest, size);
        self.list(&pack);
        Ok(pack)
    }

    /// Adds the bodies of all recorded responses. An empty body is not stored as a blob, because some
    /// registries reject empty blobs.
    fn bodies(&mut self, recording: &Recording, bodies: &BodyStore) -> Result<(), BundleError> {
        let mut missing = Vec::new();
        for (digest, size) in recording.bodies().into_iter().filter(|(_, size)| *size > 0) {
            if !bodies.has(&digest) {
                missing.push(digest);
            }
            self.blobs.entry(digest).or_insert(BlobLocation::BodyStore);
            self.list(&Descriptor::new(BODY, digest, size));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(BundleError::MissingBodies { blobs: missing }),
        }
    }

    /// The contents manifest, and the index that lists it and the images.
    fn root_index(&mut self, contents: &Contents) -> Result<Descriptor, BundleError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: self.memory(CONTENTS_CONFIG, canonical_json(contents)),
            layers: self.listed.clone(),
            annotations: StringMap::new(),
            extra: artifact_type(CONTENTS_TYPE),
        };
        let bytes = canonical_json(&manifest);
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(BundleError::TooLarge { size: bytes.len() as u64, limit: MAX_DOCUMENT_BYTES });
        }
        let mut listing = self.document(media_type::MANIFEST, bytes);
        listing.extra = artifact_type(CONTENTS_TYPE);
        let images = contents.images.values().map(|entry| (entry.manifest.digest, entry.manifest.clone()));
        // The build image and the base image may be the same.
        let images = BTreeMap::from_iter(images).into_values();
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

fn artifact_type(kind: &str) -> Extra {
    Extra::from([("artifactType".to_owned(), kind.into())])
}

/// The descriptor without the members that differ between the sources of one image.
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
