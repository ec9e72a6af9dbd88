//! Creates an index of images for several platforms.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::json::canonical_json;
use carafe_layers::oci::{Descriptor, Document, Index, Platform, media_type};
use carafe_layers::source::{ImageSource, SourceError, resolve};

use super::image::Transfer;
use crate::context::Context;
use crate::images::ImageName;
use crate::registry::MountCandidates;

/// Why an index could not be created.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum IndexError {
    /// An image could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// An image is an index itself.
    #[error("failed to add {image} to the index: it is an index itself")]
    #[diagnostic(help("name each of its images by digest: `REPOSITORY@sha256:…`"))]
    Nested {
        /// The name of the image.
        image: String,
    },
    /// The config of an image has no platform.
    #[error("failed to add {image} to the index: its config has no platform")]
    NoPlatform {
        /// The name of the image.
        image: String,
    },
    /// Two images are for the same platform.
    #[error("failed to add {second} to the index: {first} is for {platform} too")]
    #[diagnostic(help("name one image for each platform"))]
    Twice {
        /// The first one.
        first: String,
        /// The second one.
        second: String,
        /// The platform of both.
        platform: Box<Platform>,
    },
}

/// Reads the images, and creates an index of them, sorted by platform. Its bytes depend only on the
/// images, and neither on their names nor on their order.
pub fn create(images: &[ImageName], context: &Context) -> Result<Transfer, IndexError> {
    let mut mount_candidates = MountCandidates::default();
    let (mut parts, mut sources): (BTreeMap<Platform, (String, Graph)>, _) = Default::default();
    for name in images {
        let source = name.open(&context.registry, None)?;
        let (platform, graph) = part(&*source)?;
        if let ImageName::Registry(reference) = name {
            mount_candidates.add(reference.repository(), graph.blobs().map(|blob| blob.digest));
        }
        add_blobs(&mut sources, &graph, &source);
        if let Some((first, _)) = parts.get(&platform) {
            let (first, second, platform) = (first.clone(), source.name(), Box::new(platform));
            return Err(IndexError::Twice { first, second, platform });
        }
        parts.insert(platform, (source.name(), graph));
    }
    let entries = parts.iter().map(|(platform, (_, graph))| {
        let Descriptor { media_type, digest, size, .. } = &graph.root.descriptor;
        Descriptor { platform: Some(platform.clone()), ..Descriptor::new(media_type, *digest, *size) }
    });
    let bytes = canonical_json(&Index::of(entries.collect()));
    let root = Document { descriptor: Descriptor::of(media_type::INDEX, &bytes), bytes };
    let graph = Graph::with_root(root.clone(), parts.into_values().map(|(_, graph)| graph));
    let source = Arc::new(IndexSource { root, sources });
    Ok(Transfer { source, graph, mount_candidates, names: Vec::new() })
}

/// An image, and the platform in its config.
fn part(source: &dyn ImageSource) -> Result<(Platform, Graph), IndexError> {
    if media_type::is_index(&source.root()?.0.media_type) {
        return Err(IndexError::Nested { image: source.name() });
    }
    let image = resolve(source, &Platform::host())?;
    let platform = image.platform();
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(IndexError::NoPlatform { image: source.name() });
    }
    Ok((platform, Graph::of(&image)))
}

type Sources = BTreeMap<Digest, Arc<dyn ImageSource>>;

fn add_blobs(sources: &mut Sources, graph: &Graph, source: &Arc<dyn ImageSource>) {
    for blob in graph.blobs() {
        sources.entry(blob.digest).or_insert_with(|| Arc::clone(source));
    }
}

/// The blobs of several images, each from its own source.
struct IndexSource {
    root: Document,
    sources: Sources,
}

impl IndexSource {
    fn source(&self, descriptor: &Descriptor) -> Result<&dyn ImageSource, SourceError> {
        let source = self.sources.get(&descriptor.digest).map(|source| &**source);
        source
            .ok_or_else(|| SourceError::NotFound { what: descriptor.digest.to_string(), image: self.name() })
    }
}

impl ImageSource for IndexSource {
    fn name(&self) -> String {
        "the images of the index".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((self.root.descriptor.clone(), self.root.bytes.clone()))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.source(descriptor)?.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.source(descriptor)?.blob(descriptor)
    }
}
