//! A record that goes with its image: an artifact that refers to the image, so that the image's
//! digest stays what it is. `docs/verify.md` has its form.
//!
//! In it are the record and the pages that it needs: what a package index says moves on, while a
//! package, once published, is to be had for as long as its index has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

use carafe_builder::egress::{BodyStore, MAX_RECORDING_BYTES, RecordedResponse, Recording};
use carafe_builder::progress::{Stage, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::json::canonical_json;
use carafe_layers::oci::Document;
use carafe_layers::oci::{Descriptor, media_type, total_size};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, SourceError};
use carafe_layers::verified::VerifiedReader;
use miette::{Context as _, IntoDiagnostic, miette};
use serde_json::json;

use super::Transfer;
use crate::build::recording;
use crate::context::Context;

/// The type of the artifact, and of its first layer.
pub const RECORD_TYPE: &str = "application/vnd.dev.carafe.record.v1";
/// The type of its other layers: each is the body of an answer.
const BODY_TYPE: &str = "application/vnd.dev.carafe.body.v1";
/// The type of a config that says nothing, as the image specification has it.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The config that says nothing.
const EMPTY: &[u8] = b"{}";
/// A larger page is left out: no index of packages comes near.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// Words in the content types of pages: of package indexes, and of git's servers, whose branches move.
const PAGES: [&str; 3] = ["html", "json", "x-git"];

/// Adds the artifact to what is brought somewhere. The same record and image give the same bytes.
///
/// Fails without a record: a build without a sandbox has none.
pub fn attach(parcel: Transfer, record: Option<&Recording>, context: &Context) -> miette::Result<Transfer> {
    let record = record.ok_or_else(|| {
        miette!(
            help = "leave out --attach-record, or --isolation=none",
            "there is no record to attach: without a sandbox nothing is recorded"
        )
    })?;
    let bytes = record.to_bytes();
    let pages = pages(record);
    let body = |(digest, size): (&Digest, &u64)| Descriptor::new(BODY_TYPE, *digest, *size);
    let layers: Vec<Descriptor> =
        [Descriptor::of(RECORD_TYPE, &bytes)].into_iter().chain(pages.iter().map(body)).collect();
    let Descriptor { media_type, digest, size, .. } = &parcel.graph.root.descriptor;
    let config = Descriptor::of(EMPTY_TYPE, EMPTY);
    let manifest = canonical_json(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": RECORD_TYPE,
        "config": config,
        "layers": layers,
        "subject": Descriptor::new(media_type, *digest, *size),
    }));
    if manifest.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(miette!(
            help = "leave out --attach-record, and keep a bundle: `carafe bundle`",
            "the record has {} pages, more than a manifest can name",
            pages.len()
        ));
    }
    let Transfer { source, mut graph, known, names } = parcel;
    graph.layers.extend(layers);
    graph.configs.push(config);
    graph
        .referrers
        .push(Document { descriptor: Descriptor::of(media_type::MANIFEST, &manifest), bytes: manifest });
    let own = BTreeMap::from([(Digest::of(&bytes), bytes), (Digest::of(EMPTY), EMPTY.to_vec())]);
    let pages = pages.into_keys().collect();
    let bodies = BodyStore::of(&context.cache)?;
    Ok(Transfer { source: Arc::new(WithRecord { image: source, own, pages, bodies }), graph, known, names })
}

/// The bodies that may be another tomorrow under the same address, with their sizes.
fn pages(record: &Recording) -> BTreeMap<Digest, u64> {
    let is_page = |answer: &&RecordedResponse| {
        let kind = answer.headers.get("content-type").map_or("", String::as_str);
        // An empty body is no blob: not every registry takes one.
        PAGES.iter().any(|page| kind.contains(page)) && (1..=MAX_PAGE_BYTES).contains(&answer.size)
    };
    let answers = record.entries().map(|(_, answer)| answer);
    answers.filter(is_page).map(|answer| (answer.body, answer.size)).collect()
}

/// An image, and the blobs of its record.
struct WithRecord {
    image: Arc<dyn ImageSource>,
    own: BTreeMap<Digest, Vec<u8>>,
    pages: BTreeSet<Digest>,
    bodies: BodyStore,
}

impl ImageSource for WithRecord {
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
        if !self.pages.contains(&descriptor.digest) {
            return self.image.blob(descriptor);
        }
        let page = self.bodies.open(&descriptor.digest);
        let page = page.map_err(|error| SourceError::Transport(Box::new(error)))?;
        let missing = || SourceError::NotFound {
            what: format!("page {} of the record", descriptor.digest),
            image: "the cache".to_owned(),
        };
        Ok(Box::new(page.ok_or_else(missing)?))
    }
}

/// Brings the record that an image's lock names from what refers to the image into the cache,
/// where a rebuild looks for it, with its pages. Says whether the cache has it then.
///
/// What refers to an image may come from a stranger: all is verified against the lock's digest of
/// the record, and the record's of its pages. One that is of no use is warned of and passed over.
pub fn bring(
    image: &dyn ImageSource,
    subject: &Digest,
    wanted: Digest,
    context: &Context,
) -> miette::Result<bool> {
    if recording::load(wanted, context)?.is_some() {
        return Ok(true);
    }
    let referrers = match image.referrers(subject) {
        Ok(referrers) => referrers,
        Err(error) => {
            context.progress.warn(format!("what refers to the image is not known: {error}"));
            return Ok(false);
        }
    };
    let is_record = |referrer: &&Descriptor| {
        referrer.extra.get("artifactType").and_then(serde_json::Value::as_str) == Some(RECORD_TYPE)
    };
    for referrer in referrers.iter().filter(is_record) {
        match bring_from(image, referrer, wanted, context) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => {
                let digest = referrer.digest;
                context.progress.warn(format!("{digest}, which refers to the image, is of no use: {error}"));
            }
        }
    }
    Ok(false)
}

/// False if this is the artifact of another record.
fn bring_from(
    image: &dyn ImageSource,
    referrer: &Descriptor,
    wanted: Digest,
    context: &Context,
) -> miette::Result<bool> {
    let graph = Graph::at(image, referrer)?;
    let layer = graph.layers.iter().find(|layer| layer.digest == wanted);
    layer.map_or(Ok(false), |layer| take(image, &graph, layer, context).map(|()| true))
}

fn take(image: &dyn ImageSource, graph: &Graph, layer: &Descriptor, context: &Context) -> miette::Result<()> {
    let failed = |layer: &Descriptor| format!("failed to read {} of what refers to the image", layer.digest);
    if layer.size > MAX_RECORDING_BYTES as u64 {
        return Err(miette!("{}: {} bytes are no record", failed(layer), layer.size));
    }
    let mut bytes = Vec::new();
    let mut stream = VerifiedReader::new(image.blob(layer)?, layer);
    stream.read_to_end(&mut bytes).into_diagnostic().wrap_err_with(|| failed(layer))?;
    let record = Recording::parse(&bytes)?;
    let (pages, bodies) = (pages(&record), BodyStore::of(&context.cache)?);
    let is_wanted =
        |layer: &&Descriptor| pages.get(&layer.digest) == Some(&layer.size) && !bodies.has(&layer.digest);
    let wanted: Vec<&Descriptor> = graph.layers.iter().filter(is_wanted).collect();
    let total = total_size(wanted.iter().copied());
    let task = context.progress.task(Stage::Fetch, "record", Some(total), Unit::Bytes);
    for layer in wanted {
        let stream = VerifiedReader::new(image.blob(layer)?, layer);
        bodies.put(stream).map_err(miette::Report::from).wrap_err_with(|| failed(layer))?;
        task.advance(layer.size);
    }
    // Last: whoever finds the record finds its pages.
    recording::store(&bytes, context)?;
    task.finish(format!("{} answers, {} pages", record.entries().len(), pages.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::oci::Platform;
    use carafe_layers::source::resolve;

    /// An image without layers, and what is said to refer to it.
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
            artifact.extra.insert("artifactType".to_owned(), RECORD_TYPE.into());
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
    fn an_artifact_of_a_strangers_does_not_hide_the_right_one() {
        let directory = tempfile::tempdir().unwrap();
        let context = Context::at(directory.path());
        let record = Recording::default();
        let plain = Arc::new(Image::new());
        let resolved = resolve(&*plain, &Platform::host()).unwrap();
        let parcel = Transfer::of_image(plain, &resolved);
        let artifact = attach(parcel, Some(&record), &context).unwrap().graph.referrers.remove(0);

        let mut image = Image::new();
        image.keep(RECORD_TYPE, record.to_bytes());
        image.refer(Descriptor::of(media_type::MANIFEST, b"is nowhere"));
        let garbage = image.keep(media_type::MANIFEST, b"no manifest".to_vec());
        image.refer(garbage);
        let right = image.keep(media_type::MANIFEST, artifact.bytes);
        image.refer(right);
        assert!(bring(&image, &image.root.digest, record.digest(), &context).unwrap());
        assert!(recording::load(record.digest(), &context).unwrap().is_some());

        let other = Digest::of(b"another record");
        let mut image = Image::new();
        image.refer(Descriptor::of(media_type::MANIFEST, b"is nowhere"));
        assert!(!bring(&image, &image.root.digest, other, &context).unwrap());
    }
}
