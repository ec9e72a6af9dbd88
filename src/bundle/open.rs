//! Reads the documents of a bundle and checks that they match each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use carafe_builder::egress::{MAX_RECORDING_BYTES, Recording};
use carafe_builder::lock::{Lock, LockedImage, MAX_LOCK_BYTES};
use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, Index, Manifest, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, SourceError};
use carafe_layers::verified::VerifiedReader;
use serde::de::DeserializeOwned;

use super::contents::{BUNDLE_TYPE, CONTENTS_TYPE, Contents, DELTA_BASE, MAX_CONTENTS_BYTES, VERSION};
use super::error::BundleError;
use super::images::BundledImage;
use super::sources::Sources;

/// A bundle whose documents were read and verified: lock, recording, commits, bodies and images match
/// each other. A missing blob is detected when it is read.
pub struct Bundle {
    pub(super) sources: Arc<Sources>,
    pub(super) contents: Contents,
    /// The blobs that belong to no image.
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
    digest: Digest,
    lock: Lock,
    recording: Recording,
}

impl Bundle {
    /// Reads the bundle in `bundle`; blobs that it lacks are read from `others`.
    pub fn open(
        bundle: Arc<dyn ImageSource>,
        others: impl IntoIterator<Item = Arc<dyn ImageSource>>,
    ) -> Result<Self, BundleError> {
        let sources = Sources::new(bundle, others);
        let documents = Documents { sources: &sources };
        let (digest, index) = documents.index()?;
        let manifest = documents.listing(&index)?;
        let contents = documents.contents(&manifest.config)?;
        let blobs: BTreeMap<Digest, Descriptor> =
            manifest.layers.into_iter().map(|blob| (blob.digest, blob)).collect();
        let find = |digest: &Digest, what: &str| {
            let blob = blobs.get(digest);
            blob.ok_or_else(|| documents.contradiction(format!("its {what} {digest} is not in its manifest")))
        };
        let name = sources.name();
        let lock = documents.read("lock", find(&contents.lock, "lock")?, MAX_LOCK_BYTES)?;
        let lock = Lock::parse(&format!("the lock in {name}"), &String::from_utf8_lossy(&lock))?;
        let recording = find(&contents.record, "recording")?;
        let recording = documents.read("recording", recording, MAX_RECORDING_BYTES as u64)?;
        let recording = Recording::parse(&recording)?;
        documents.check(&contents, &lock, &recording, &index, &blobs)?;
        Ok(Self { sources: Arc::new(sources), contents, blobs, digest, lock, recording })
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        self.sources.name()
    }

    /// The bundle's own digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The lock in it.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The recording in it, which is the one that the lock names.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The image that the lock names; `None` if it is not an image of this bundle's lock.
    pub fn image(&self, locked: &LockedImage) -> Result<Option<Arc<dyn ImageSource>>, BundleError> {
        let Some(entry) = self.contents.images.get(&locked.digest) else { return Ok(None) };
        let documents = Documents { sources: &self.sources };
        let bytes = match entry.root.digest == entry.manifest.digest {
            true => self.sources.manifest(&entry.manifest)?,
            false => documents.read("image index", &entry.root, MAX_DOCUMENT_BYTES)?,
        };
        Ok(Some(Arc::new(BundledImage {
            bundle: Arc::clone(&self.sources),
            reference: locked.reference.clone(),
            root: (entry.root.clone(), bytes),
        })))
    }

    /// The digests of the bundles that this one, or one of the others, is a delta against and that
    /// were not passed.
    pub(super) fn bases(&self) -> Vec<Digest> {
        let roots: Vec<Descriptor> =
            self.sources.iter().filter_map(|source| Some(source.root().ok()?.0)).collect();
        let base = |root: &Descriptor| root.annotations.get(DELTA_BASE)?.parse().ok();
        let wanted: BTreeSet<Digest> = roots.iter().filter_map(base).collect();
        wanted.into_iter().filter(|digest| roots.iter().all(|root| root.digest != *digest)).collect()
    }
}

/// Reads and checks documents.
struct Documents<'a> {
    sources: &'a Sources,
}

impl Documents<'_> {
    fn index(&self) -> Result<(Digest, Index), BundleError> {
        let (root, bytes) = self.sources.root()?;
        let got = Digest::of(&bytes);
        if got != root.digest {
            let (what, image, wanted) = ("index", self.sources.name(), root.digest);
            return Err(SourceError::DigestMismatch { what, image, wanted, got }.into());
        }
        if root.media_type != media_type::INDEX {
            return Err(self.not_a_bundle("it is a single image or artifact, not an index"));
        }
        let index: Index = self.parse("index", &bytes)?;
        match index.extra.get("artifactType").and_then(|kind| kind.as_str()) {
            Some(BUNDLE_TYPE) => Ok((got, index)),
            Some(other) => Err(self.not_a_bundle(&format!("its artifact type is `{other}`"))),
            None => Err(self.not_a_bundle("it is an image index without an artifact type")),
        }
    }

    /// The contents manifest, which lists everything that is not an image.
    fn listing(&self, index: &Index) -> Result<Manifest, BundleError> {
        let is_listing = |entry: &&Descriptor| {
            entry.extra.get("artifactType").and_then(|kind| kind.as_str()) == Some(CONTENTS_TYPE)
        };
        let mut listings = index.manifests.iter().filter(is_listing);
        let (Some(listing), None) = (listings.next(), listings.next()) else {
            return Err(self.contradiction("it must have exactly one contents manifest".to_owned()));
        };
        let bytes = self.sources.manifest(listing)?;
        let mut verified = Vec::new();
        VerifiedReader::new(&bytes[..], listing)
            .read_to_end(&mut verified)
            .map_err(|source| self.blob("the contents manifest", listing, source))?;
        self.parse("contents manifest", &verified)
    }

    fn contents(&self, config: &Descriptor) -> Result<Contents, BundleError> {
        let bytes = self.read("contents", config, MAX_CONTENTS_BYTES)?;
        let version: Versions = self.parse("contents", &bytes)?;
        if version.version != VERSION {
            let reason =
                format!("its version is {}, this version of carafe supports {VERSION}", version.version);
            return Err(self.not_a_bundle(&reason));
        }
        self.parse("contents", &bytes)
    }

    /// Checks that the lock, the recording, the commits, the images and the bodies match each other.
    fn check(
        &self,
        contents: &Contents,
        lock: &Lock,
        recording: &Recording,
        index: &Index,
        blobs: &BTreeMap<Digest, Descriptor>,
    ) -> Result<(), BundleError> {
        if lock.recording != Some(contents.record) {
            let named = lock.recording.map_or("none".to_owned(), |digest| digest.to_string());
            let reason = format!("its recording is {}, but its lock names {named}", contents.record);
            return Err(self.contradiction(reason));
        }
        for app in &lock.apps {
            match contents.commits.get(&app.commit) {
                Some(pack) if blobs.contains_key(pack) => {}
                _ => {
                    let reason = format!("commit {} of app `{}` is missing", app.commit, app.name);
                    return Err(self.contradiction(reason));
                }
            }
        }
        let manifests: BTreeSet<Digest> = index.manifests.iter().map(|entry| entry.digest).collect();
        for image in [&lock.build_image, &lock.base_image] {
            let entry = contents.images.get(&image.digest);
            if !entry.is_some_and(|entry| {
                entry.root.digest == image.digest && manifests.contains(&entry.manifest.digest)
            }) {
                let reason = format!("image {} ({}) is missing", image.digest, image.reference);
                return Err(self.contradiction(reason));
            }
        }
        let fits = |(digest, size): &(Digest, u64)| {
            *size == 0 || blobs.get(digest).is_some_and(|blob| blob.size == *size)
        };
        match recording.bodies().into_iter().find(|body| !fits(body)) {
            None => Ok(()),
            Some((digest, size)) => Err(self.contradiction(format!(
                "body {digest} of {size} bytes, which its recording names, is missing"
            ))),
        }
    }

    /// Reads and verifies a small blob.
    fn read(&self, what: &'static str, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, BundleError> {
        if blob.size > limit {
            let (image, size) = (self.sources.name(), blob.size);
            return Err(SourceError::TooLarge { what, image, size, limit }.into());
        }
        let mut bytes = Vec::new();
        VerifiedReader::new(self.sources.blob(blob)?, blob)
            .read_to_end(&mut bytes)
            .map_err(|source| self.blob(what, blob, source))?;
        Ok(bytes)
    }

    fn parse<T: DeserializeOwned>(&self, what: &'static str, bytes: &[u8]) -> Result<T, BundleError> {
        serde_json::from_slice(bytes).map_err(|source| BundleError::Document {
            name: self.sources.name(),
            what,
            source,
        })
    }

    fn blob(&self, what: &str, blob: &Descriptor, source: std::io::Error) -> BundleError {
        let what = format!("{what} {}", blob.digest);
        BundleError::Blob { name: self.sources.name(), what, source }
    }

    fn contradiction(&self, reason: String) -> BundleError {
        BundleError::Contradiction { name: self.sources.name(), reason }
    }

    fn not_a_bundle(&self, reason: &str) -> BundleError {
        let reason = carafe_layers::text::escape_bytes(reason.as_bytes());
        BundleError::NotABundle { name: self.sources.name(), reason }
    }
}

/// Parsed first, to distinguish a newer format from a malformed document.
#[derive(serde::Deserialize)]
struct Versions {
    version: u32,
}
