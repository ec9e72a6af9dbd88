//! Small images in memory.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use carafe_layers::digest::{DiffId, Digest};
use carafe_layers::oci::{Descriptor, ImageConfig, Manifest, Platform, RootFs, media_type};
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};

/// An image whose blobs are in memory.
#[derive(Clone)]
pub struct Image {
    root: Descriptor,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Image {
    /// One layer for each of `layers`, with these bytes, in OCI's media types.
    pub fn new(layers: &[&[u8]]) -> Self {
        Self::of_types(layers, [media_type::MANIFEST, media_type::CONFIG, media_type::LAYER_TAR])
    }

    /// The same with Docker's media types.
    pub fn docker(layers: &[&[u8]]) -> Self {
        let types = [media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP];
        Self::of_types(layers, types)
    }

    /// An image with a layer whose bytes it does not have.
    pub fn around(layer: Descriptor) -> Self {
        Self::build([media_type::MANIFEST, media_type::CONFIG], vec![layer], BTreeMap::new())
    }

    fn of_types(layers: &[&[u8]], [manifest, config, layer]: [&str; 3]) -> Self {
        let blobs = layers.iter().map(|bytes| (Digest::of(bytes), bytes.to_vec())).collect();
        let layers = layers.iter().map(|bytes| Descriptor::of(layer, bytes)).collect();
        Self::build([manifest, config], layers, blobs)
    }

    fn build(
        [manifest, config]: [&str; 2],
        layers: Vec<Descriptor>,
        mut blobs: BTreeMap<Digest, Vec<u8>>,
    ) -> Self {
        let mut add = |kind: &str, bytes: Vec<u8>| {
            let descriptor = Descriptor::of(kind, &bytes);
            blobs.insert(descriptor.digest, bytes);
            descriptor
        };
        let diff_ids = layers.iter().map(|layer| DiffId(layer.digest)).collect();
        let document = ImageConfig {
            created: None,
            architecture: Platform::host().architecture,
            os: "linux".to_owned(),
            config: Default::default(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            history: Vec::new(),
            extra: Default::default(),
        };
        let document = Manifest {
            schema_version: 2,
            media_type: Some(manifest.to_owned()),
            config: add(config, serde_json::to_vec(&document).unwrap()),
            layers,
            annotations: Default::default(),
            extra: Default::default(),
        };
        let root = add(manifest, serde_json::to_vec(&document).unwrap());
        Self { root, blobs }
    }

    /// Its resolved documents.
    pub fn resolved(&self) -> ResolvedImage {
        resolve(self, &Platform::host()).unwrap()
    }

    /// The same, with a layer whose bytes do not have its digest.
    pub fn damaged(mut self) -> Self {
        let layer = self.resolved().manifest.layers[0].digest;
        self.blobs.get_mut(&layer).unwrap()[0] ^= 1;
        self
    }
}

impl ImageSource for Image {
    fn name(&self) -> String {
        "an image in memory".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((self.root.clone(), self.blobs[&self.root.digest].clone()))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        Ok(self.blobs[&descriptor.digest].clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        let missing = || SourceError::NotFound { what: descriptor.digest.to_string(), image: self.name() };
        Ok(Box::new(Cursor::new(self.blobs.get(&descriptor.digest).ok_or_else(missing)?.clone())))
    }
}
