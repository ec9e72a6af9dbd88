//! The example's image, built once, and changed copies of it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use carafe::diff::Opened;
use carafe_layers::digest::Digest;
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::oci::{Platform, media_type};
use flate2::Compression;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tar::{Archive, Header};

use crate::demo::{Demo, ProgramDirectory};
use crate::unpack_support::Tar;

/// The layer that most tests change.
pub const APP: &str = "apps/greetings";

/// The image as it was built, in a layout, for all tests of this program.
pub fn original() -> &'static Path {
    static BUILT: OnceLock<(ProgramDirectory, PathBuf)> = OnceLock::new();
    let build = || {
        let demo = Demo::new();
        demo.run(&["lock", "--quiet"]);
        let directory = ProgramDirectory::new();
        let path = directory.path().join("image");
        demo.run(&["build", "--quiet", "--output", path.to_str().unwrap()]);
        (directory, path)
    };
    &BUILT.get_or_init(build).1
}

/// The same image on a small base image, for tests of the layers above it.
pub fn small() -> &'static Path {
    static MADE: OnceLock<(ProgramDirectory, PathBuf)> = OnceLock::new();
    let make = || {
        let directory = ProgramDirectory::new();
        let path = directory.path().join("image");
        let mut variant = Variant::of(original(), &path);
        variant.set_base(&Tar::new().file("etc/os-release", "ID=small\n").bytes());
        variant.finish();
        (directory, path)
    };
    &MADE.get_or_init(make).1
}

pub fn opened(layout: &Path) -> Opened {
    Opened::of(Arc::new(LayoutSource::open(layout, None).unwrap()), &Platform::host()).unwrap()
}

/// An entry of a tar: its header and its content. A PAX extended header is an entry of its own.
pub type Entry = (Header, Vec<u8>);

/// A copy of an image that a test changes.
pub struct Variant {
    layout: LayoutWriter,
    pub manifest: Value,
    pub config: Value,
}

impl Variant {
    /// A copy of the image at `original` in a new layout at `directory`.
    pub fn of(original: &Path, directory: &Path) -> Self {
        let image = opened(original).image;
        let layout = LayoutWriter::create(directory).unwrap();
        let from = LayoutWriter::create(original).unwrap();
        for layer in &image.manifest.layers {
            fs::hard_link(from.blob_path(&layer.digest), layout.blob_path(&layer.digest)).unwrap();
        }
        let parsed = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
        Self { layout, manifest: parsed(&image.manifest_bytes), config: parsed(&image.config_bytes) }
    }

    /// The index of a layer, by the name in its history.
    fn index_of(&self, name: &str) -> usize {
        let steps = self.config["history"].as_array().unwrap().iter();
        let mut layers = steps.filter(|step| step["empty_layer"] != json!(true));
        layers.position(|step| step["created_by"] == json!(format!("carafe: {name}"))).unwrap()
    }

    pub fn blob(&self, layer: &str) -> PathBuf {
        let digest: Digest =
            serde_json::from_value(self.manifest["layers"][self.index_of(layer)]["digest"].clone()).unwrap();
        self.layout.blob_path(&digest)
    }

    /// A layer's tar.
    pub fn tar(&self, layer: &str) -> Vec<u8> {
        let mut tar = Vec::new();
        GzDecoder::new(fs::File::open(self.blob(layer)).unwrap()).read_to_end(&mut tar).unwrap();
        tar
    }

    /// Replaces a layer's tar.
    pub fn set_tar(&mut self, layer: &str, tar: &[u8], level: Compression) {
        let mut blob = Vec::new();
        flate2::read::GzEncoder::new(tar, level).read_to_end(&mut blob).unwrap();
        let at = self.index_of(layer);
        let descriptor = self.layout.put_bytes(media_type::LAYER_GZIP, &blob).unwrap();
        self.manifest["layers"][at] = serde_json::to_value(descriptor).unwrap();
        self.config["rootfs"]["diff_ids"][at] = json!(Digest::of(tar));
    }

    /// Compresses a layer's tar differently.
    pub fn recompress(&mut self, layer: &str) {
        self.set_tar(layer, &self.tar(layer), Compression::fast());
    }

    /// Merges this layer and the one above it, and sets the time of creation.
    pub fn join_with_next(&mut self, layer: &str) {
        let at = self.index_of(layer);
        let take = |list: &mut Value, at: usize| list.as_array_mut().unwrap().remove(at);
        let history = self.config["history"].as_array().unwrap();
        let step =
            |at| history.iter().enumerate().filter(|(_, step)| step["empty_layer"] != json!(true)).nth(at);
        let (next, name) = step(at + 1).map(|(next, step)| (next, step["created_by"].clone())).unwrap();
        let next_tar = self.tar(name.as_str().unwrap().strip_prefix("carafe: ").unwrap());
        let mut tar = self.tar(layer);
        let end = entries(&tar).iter().map(|(_, content)| 512 + content.len().next_multiple_of(512)).sum();
        tar.truncate(end);
        tar.extend(next_tar);
        take(&mut self.manifest["layers"], at + 1);
        take(&mut self.config["rootfs"]["diff_ids"], at + 1);
        take(&mut self.config["history"], next);
        self.config["created"] = json!("2030-01-01T00:00:00Z");
        self.set_tar(layer, &tar, Compression::default());
    }

    /// Changes the entries of a layer.
    pub fn edit(&mut self, layer: &str, change: impl FnOnce(&mut Vec<Entry>)) {
        let mut entries = entries(&self.tar(layer));
        change(&mut entries);
        let mut tar = Vec::new();
        for (mut header, content) in entries {
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(&content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        self.set_tar(layer, &tar, Compression::default());
    }

    /// The lock in the label.
    pub fn lock(&mut self) -> &mut Value {
        &mut self.config["config"]["Labels"]["dev.carafe.lock"]
    }

    /// Replaces a text in the lock, which must have it.
    pub fn edit_lock(&mut self, from: &str, to: &str) {
        let lock = self.lock().as_str().unwrap().to_owned();
        assert!(lock.contains(from), "{from} is not in\n{lock}");
        *self.lock() = json!(lock.replace(from, to));
    }

    /// Changes bench's list of apps.
    pub fn edit_apps_json(&mut self, change: impl FnOnce(&mut Value)) {
        let edit = |entries: &mut Vec<Entry>| {
            let (_, content) = find(entries, "sites/apps.json");
            let mut apps = serde_json::from_slice(content).unwrap();
            change(&mut apps);
            *content = serde_json::to_vec(&apps).unwrap();
        };
        self.edit("sites and config", edit);
    }

    /// Replaces the only layer of the base image.
    pub fn set_base(&mut self, tar: &[u8]) {
        let descriptor = self.layout.put_bytes(media_type::LAYER_TAR, tar).unwrap();
        self.manifest["layers"][0] = serde_json::to_value(descriptor).unwrap();
        self.config["rootfs"]["diff_ids"][0] = json!(Digest::of(tar));
    }

    /// Writes the documents.
    pub fn finish(mut self) {
        let put = |kind: &str, value: &Value| {
            self.layout.put_bytes(kind, &serde_json::to_vec(value).unwrap()).unwrap()
        };
        self.manifest["config"] = serde_json::to_value(put(media_type::CONFIG, &self.config)).unwrap();
        let manifest = put(media_type::MANIFEST, &self.manifest);
        self.layout.finish(&manifest, &[]).unwrap();
    }
}

/// Every entry of a tar.
pub fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut archive = Archive::new(tar);
    let raw = archive.entries().unwrap().raw(true);
    raw.map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.header().clone(), content)
    })
    .collect()
}

/// The entry whose path ends with `end`.
pub fn find<'e>(entries: &'e mut [Entry], end: &str) -> &'e mut Entry {
    let found = entries.iter_mut().find(|(header, _)| header.path_bytes().ends_with(end.as_bytes()));
    found.unwrap_or_else(|| panic!("no entry {end}"))
}
