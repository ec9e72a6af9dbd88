//! Sample images for tests.

use std::path::Path;

use carafe_layers::digest::{DiffId, Digest};
use carafe_layers::json::canonical_json;
use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::Index;
use carafe_layers::oci::{Descriptor, ImageConfig, Manifest, Platform, RootFs, RuntimeConfig, media_type};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

/// A layout with sample images.
pub struct Sample(LayoutWriter);

impl Sample {
    pub fn new(path: &Path) -> Self {
        Self(LayoutWriter::create(path).unwrap())
    }

    /// An image for `platform` with one file in each layer.
    pub fn image(&self, platform: &str, files: &[(&str, &str)]) -> Descriptor {
        let platform: Platform = platform.parse().unwrap();
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let tar = tar(name, content.as_bytes());
            diff_ids.push(DiffId(Digest::of(&tar)));
            layers.push(self.blob(media_type::LAYER_GZIP, &gzip(&tar)));
        }
        let mut config = ImageConfig {
            created: None,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            config: RuntimeConfig { cmd: Some(vec!["/bin/true".to_owned()]), ..Default::default() },
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            history: Vec::new(),
            extra: Default::default(),
        };
        config.extra.extend(platform.variant.map(|variant| ("variant".to_owned(), variant.into())));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: self.blob(media_type::CONFIG, &canonical_json(&config)),
            layers,
            annotations: Default::default(),
            extra: Default::default(),
        };
        self.blob(media_type::MANIFEST, &canonical_json(&manifest))
    }

    /// An index over amd64 and arm64, named `name`.
    pub fn index(&self, name: &str) -> Descriptor {
        let images = ["linux/amd64", "linux/arm64/v8"].map(|platform| {
            let image = self.image(platform, &[("shared", "the same"), ("own", platform)]);
            Descriptor { platform: Some(platform.parse().unwrap()), ..image }
        });
        let index = self.blob(media_type::INDEX, &canonical_json(&Index::of(images.to_vec())));
        self.name(&index, name);
        index
    }

    /// An artifact that refers to `subject`.
    pub fn referrer(&self, subject: &Descriptor, kind: &str) -> Descriptor {
        let subject = Descriptor { platform: None, ..subject.clone() };
        let config = self.blob("application/vnd.oci.empty.v1+json", b"{}");
        let layer = self.blob(kind, format!("{kind} of {}", subject.digest).as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": kind,
            "config": config, "layers": [layer], "subject": subject, "annotations": {"made": "by hand"}});
        self.blob(media_type::MANIFEST, &canonical_json(&manifest))
    }

    /// Adds an image to the index of the layout, under a tag.
    pub fn name(&self, image: &Descriptor, name: &str) {
        self.0.finish(image, &[name]).unwrap();
    }

    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        self.0.put_bytes(media_type, bytes).unwrap()
    }
}

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}
