//! The recording of an image as a referrer: an artifact whose subject is the image, so that the digest
//! of the image does not change. `docs/verify.md` describes its format.
//!
//! It contains the recording and the response bodies that may change at their source, such as those of
//! package indexes. Published packages do not change, and are not included.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

use carafe_builder::egress::{BodyStore, MAX_RECORDING_BYTES, RecordedResponse, Recording};
use carafe_builder::progress::{Stage, Unit};
use carafe_builder::spec::format_bytes;
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::json::canonical_json;
use carafe_layers::oci::{Descriptor, Document, media_type, total_size};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, SourceError};
use carafe_layers::verified::VerifiedReader;
use miette::{Context as _, IntoDiagnostic, miette};
use serde_json::json;

use super::image::Transfer;
use crate::build::recording;
use crate::context::Context;

/// The type of the artifact, and of its first layer.
pub const RECORDING_TYPE: &str = "application/vnd.dev.carafe.record.v1";
/// The type of its other layers: each is the body of a response.
const BODY_TYPE: &str = "application/vnd.dev.carafe.body.v1";
/// The type of the empty config of the image specification.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The empty config.
const EMPTY: &[u8] = b"{}";
/// Larger bodies are left out. No response of a package index is nearly as large.
const MAX_BODY_BYTES: u64 = 64 << 20;
/// Parts of the content types of responses that may change: those of package indexes, and of git
/// servers, whose branches move.
const CHANGING_TYPES: [&str; 3] = ["html", "json", "x-git"];

/// Adds the artifact to a transfer. Its bytes depend only on the recording and the image.
///
/// Fails without a recording: a build without sandbox has none.
pub fn attach_recording(
    transfer: Transfer,
    recording: Option<&Recording>,
    context: &Context,
) -> miette::Result<Transfer> {
    let recording = recording.ok_or_else(|| {
        miette!(
            help = "remove --attach-record or --isolation=none",
            "failed to attach the recording: a build without sandbox has none"
        )
    })?;
    let bytes = recording.to_bytes();
    let bodies = changing_bodies(recording);
    let body = |(digest, size): (&Digest, &u64)| Descriptor::new(BODY_TYPE, *digest, *size);
    let layers: Vec<Descriptor> =
        [Descriptor::of(RECORDING_TYPE, &bytes)].into_iter().chain(bodies.iter().map(body)).collect();
    let Descriptor { media_type, digest, size, .. } = &transfer.graph.root.descriptor;
    let config = Descriptor::of(EMPTY_TYPE, EMPTY);
    let manifest = canonical_json(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": RECORDING_TYPE,
        "config": config,
        "layers": layers,
        "subject": Descriptor::new(media_type, *digest, *size),
    }));
    if manifest.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(miette!(
            help = "remove --attach-record, and create a bundle instead: `carafe bundle`",
            "failed to attach the recording: it has {} response bodies, more than a manifest can list",
            bodies.len()
        ));
    }
    let Transfer { source, mut graph, mount_candidates, names } = transfer;
    graph.layers.extend(layers);
    graph.configs.push(config);
    graph
        .referrers
        .push(Document { descriptor: Descriptor::of(media_type::MANIFEST, &manifest), bytes: manifest });
    let own = BTreeMap::from([(Digest::of(&bytes), bytes), (Digest::of(EMPTY), EMPTY.to_vec())]);
    let bodies = bodies.into_keys().collect();
    let store = BodyStore::of(&context.cache)?;
    let source = Arc::new(WithRecording { image: source, own, bodies, store });
    Ok(Transfer { source, graph, mount_candidates, names })
}

/// The response bodies that may change at their source, with their sizes.
fn changing_bodies(recording: &Recording) -> BTreeMap<Digest, u64> {
    let is_changing = |response: &&RecordedResponse| {
        let media_type = response.headers.get("content-type").map_or("", String::as_str);
        // Not every registry accepts an empty blob.
        CHANGING_TYPES.iter().any(|part| media_type.contains(part))
            && (1..=MAX_BODY_BYTES).contains(&response.size)
    };
    let responses = recording.entries().map(|(_, response)| response);
    responses.filter(is_changing).map(|response| (response.body, response.size)).collect()
}

/// An image, and the blobs of its recording.
struct WithRecording {
    image: Arc<dyn ImageSource>,
    /// The recording and the empty config.
    own: BTreeMap<Digest, Vec<u8>>,
    /// The response bodies, which are in `store`.
    bodies: BTreeSet<Digest>,
    store: BodyStore,
}

impl ImageSource for WithRecording {
    fn name(&self) -> String {
        self.image.name()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.image.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.image.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        if let Some(bytes) = self.own.get(&descriptor.digest) {
            return Ok(Box::new(Cursor::new(bytes.clone())));
        }
        if !self.bodies.contains(&descriptor.digest) {
            return self.image.blob(descriptor);
        }
        let body = self.store.open(&descriptor.digest);
        let body = body.map_err(|error| SourceError::Transport(Box::new(error)))?;
        let missing = || SourceError::NotFound {
            what: format!("body {} of the recording", descriptor.digest),
            image: "the cache".to_owned(),
        };
        Ok(Box::new(body.ok_or_else(missing)?))
    }
}

/// Copies the recording `expected` from the referrers of `subject` into the cache, with its response
/// bodies, for a rebuild. Returns whether the cache has it.
///
/// Anyone who can push may have added a referrer: everything is verified against the lock's digest of
/// the recording, and against the recording's digests of the bodies. An invalid referrer is skipped
/// with a warning.
pub fn fetch_recording(
    image: &dyn ImageSource,
    subject: &Digest,
    expected: Digest,
    context: &Context,
) -> miette::Result<bool> {
    if recording::load(expected, context)?.is_some() {
        return Ok(true);
    }
    let referrers = match image.referrers(subject) {
        Ok(referrers) => referrers,
        Err(error) => {
            context.progress.warn(format!("failed to list the referrers of the image: {error}"));
            return Ok(false);
        }
    };
    let is_recording = |referrer: &&Descriptor| {
        referrer.extra.get("artifactType").and_then(serde_json::Value::as_str) == Some(RECORDING_TYPE)
    };
    for referrer in referrers.iter().filter(is_recording) {
        match fetch_from(image, referrer, expected, context) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                let digest = referrer.digest;
                context.progress.warn(format!("ignored the invalid referrer {digest} of the image: {error}"));
            }
        }
    }
    Ok(false)
}

/// False if the referrer has another recording.
fn fetch_from(
    image: &dyn ImageSource,
    referrer: &Descriptor,
    expected: Digest,
    context: &Context,
) -> miette::Result<bool> {
    let graph = Graph::at(image, referrer)?;
    let layer = graph.layers.iter().find(|layer| layer.digest == expected);
    layer.map_or(Ok(false), |layer| copy(image, &graph, layer, context).map(|()| true))
}

fn copy(image: &dyn ImageSource, graph: &Graph, layer: &Descriptor, context: &Context) -> miette::Result<()> {
    let failed = |layer: &Descriptor| format!("failed to read {} of a referrer", layer.digest);
    if layer.size > MAX_RECORDING_BYTES as u64 {
        return Err(miette!("{}: {} are too large for a recording", failed(layer), format_bytes(layer.size)));
    }
    let mut bytes = Vec::new();
    let mut stream = VerifiedReader::new(image.blob(layer)?, layer);
    stream.read_to_end(&mut bytes).into_diagnostic().wrap_err_with(|| failed(layer))?;
    let recording = Recording::parse(&bytes)?;
    let (bodies, store) = (changing_bodies(&recording), BodyStore::of(&context.cache)?);
    let is_missing =
        |layer: &&Descriptor| bodies.get(&layer.digest) == Some(&layer.size) && !store.has(&layer.digest);
    let missing: Vec<&Descriptor> = graph.layers.iter().filter(is_missing).collect();
    let total = total_size(missing.iter().copied());
    let task = context.progress.task(Stage::Fetch, "recording", Some(total), Unit::Bytes);
    for layer in missing {
        let stream = VerifiedReader::new(image.blob(layer)?, layer);
        store.put(stream).map_err(miette::Report::from).wrap_err_with(|| failed(layer))?;
        task.advance(layer.size);
    }
    // Last, so that a recording in the cache always has its bodies.
    recording::store(&bytes, context)?;
    task.finish(format!("{} responses, {} bodies", recording.entries().len(), bodies.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::oci::Platform;
    use carafe_layers::source::resolve;

    /// An image without layers, and its referrers.
    struct Image {
        blobs: BTreeMap<Digest, Vec<u8>>,
        root: Descriptor,
        referrers: Vec<Descriptor>,
    }

    impl Image {
        fn new() -> Self {
            let Platform { os, architecture, .. } = Platform::host();
            let rootfs = json!({"type": "layers", "diff_ids": []});
            let config = json!({"os": os, "architecture": architecture, "rootfs": rootfs}).to_string();
            let mut image = Self { blobs: BTreeMap::new(), root: empty(), referrers: Vec::new() };
            let config = image.keep(media_type::CONFIG, config.into_bytes());
            let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
            image.root = image.keep(media_type::MANIFEST, manifest.into_bytes());
            image
        }

        fn keep(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
            let descriptor = Descriptor::of(media_type, &bytes);
            self.blobs.insert(descriptor.digest, bytes);
            descriptor
        }

        fn refer(&mut self, mut artifact: Descriptor) {
            artifact.extra.insert("artifactType".to_owned(), RECORDING_TYPE.into());
            self.referrers.push(artifact);
        }
    }

    fn empty() -> Descriptor {
        Descriptor::of(EMPTY_TYPE, EMPTY)
    }

    impl ImageSource for Image {
        fn name(&self) -> String {
            "image".to_owned()
        }

        fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
            Ok((self.root.clone(), self.manifest(&self.root)?))
        }

        fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
            let missing =
                || SourceError::NotFound { what: descriptor.digest.to_string(), image: self.name() };
            self.blobs.get(&descriptor.digest).cloned().ok_or_else(missing)
        }

        fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
            Ok(Box::new(Cursor::new(self.manifest(descriptor)?)))
        }

        fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, SourceError> {
            Ok(self.referrers.clone())
        }
    }

    #[test]
    fn an_invalid_referrer_does_not_hide_the_right_one() {
        let directory = tempfile::tempdir().unwrap();
        let context = Context::at(directory.path());
        let recording = Recording::default();
        let plain = Arc::new(Image::new());
        let resolved = resolve(&*plain, &Platform::host()).unwrap();
        let transfer = Transfer::of_image(plain, &resolved);
        let artifact =
            attach_recording(transfer, Some(&recording), &context).unwrap().graph.referrers.remove(0);

        let mut image = Image::new();
        image.keep(RECORDING_TYPE, recording.to_bytes());
        image.refer(Descriptor::of(media_type::MANIFEST, b"does not exist"));
        let garbage = image.keep(media_type::MANIFEST, b"not a manifest".to_vec());
        image.refer(garbage);
        let right = image.keep(media_type::MANIFEST, artifact.bytes);
        image.refer(right);
        assert!(fetch_recording(&image, &image.root.digest, recording.digest(), &context).unwrap());
        assert!(recording::load(recording.digest(), &context).unwrap().is_some());

        let other = Digest::of(b"another recording");
        let mut image = Image::new();
        image.refer(Descriptor::of(media_type::MANIFEST, b"does not exist"));
        assert!(!fetch_recording(&image, &image.root.digest, other, &context).unwrap());
    }
}
