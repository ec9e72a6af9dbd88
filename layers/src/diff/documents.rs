//! Compares two manifests and two configs, member by member.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::source::ResolvedImage;

/// A member of a document that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DocumentChange {
    /// `manifest` or `config`.
    pub document: &'static str,
    /// The member as a JSON Pointer (RFC 6901, `/config/Env/0`); empty if only the encoding differs.
    pub pointer: String,
    /// The value in the first image, if it exists.
    pub want: Option<Value>,
    /// The value in the second image, if it exists.
    pub got: Option<Value>,
}

/// The members of manifest and config that differ. Omits the digests and sizes of the layers and of the
/// config, because their content is compared separately.
pub fn documents(want: &ResolvedImage, got: &ResolvedImage) -> Vec<DocumentChange> {
    let mut changes = Vec::new();
    let configs_differ = want.manifest.config.digest != got.manifest.config.digest;
    let same_length = want.manifest.layers.len() == got.manifest.layers.len();
    let manifests = [want, got].map(|image| without_contents(parse(&image.manifest_bytes), same_length));
    let encoding_differs =
        want.descriptor.digest != got.descriptor.digest && !configs_differ && blobs(want).eq(blobs(got));
    add("manifest", manifests, encoding_differs, &mut changes);
    let configs = [want, got].map(|image| without_diff_ids(parse(&image.config_bytes)));
    let encoding_differs = configs_differ && want.config.rootfs.diff_ids == got.config.rootfs.diff_ids;
    add("config", configs, encoding_differs, &mut changes);
    changes
}

fn blobs(image: &ResolvedImage) -> impl Iterator<Item = (Digest, u64)> {
    image.manifest.layers.iter().map(|layer| (layer.digest, layer.size))
}

/// Cannot fail, because [`ResolvedImage`] contains only documents that were parsed.
fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Removes digests and sizes. Also removes the layers, unless `keep_layers`: their number differs then,
/// and they have no counterparts.
fn without_contents(mut manifest: Value, keep_layers: bool) -> Value {
    let object = manifest.as_object_mut();
    if let Some(object) = object.filter(|_| !keep_layers) {
        object.remove("layers");
    }
    let layers = manifest.get_mut("layers").and_then(Value::as_array_mut);
    for layer in layers.into_iter().flatten().filter_map(Value::as_object_mut) {
        remove_content(layer);
    }
    if let Some(config) = manifest.get_mut("config").and_then(Value::as_object_mut) {
        remove_content(config);
    }
    manifest
}

fn remove_content(descriptor: &mut Map<String, Value>) {
    descriptor.remove("digest");
    descriptor.remove("size");
}

fn without_diff_ids(mut config: Value) -> Value {
    if let Some(rootfs) = config.get_mut("rootfs").and_then(Value::as_object_mut) {
        rootfs.remove("diff_ids");
    }
    config
}

fn add(
    document: &'static str,
    [want, got]: [Value; 2],
    encoding_differs: bool,
    changes: &mut Vec<DocumentChange>,
) {
    let before = changes.len();
    compare(document, String::new(), Some(&want), Some(&got), changes);
    if encoding_differs && changes.len() == before {
        changes.push(DocumentChange { document, pointer: String::new(), want: None, got: None });
    }
}

fn compare(
    document: &'static str,
    pointer: String,
    want: Option<&Value>,
    got: Option<&Value>,
    changes: &mut Vec<DocumentChange>,
) {
    match (want, got) {
        (Some(Value::Object(want)), Some(Value::Object(got))) => {
            for key in want.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
                let name = key.replace('~', "~0").replace('/', "~1");
                compare(document, format!("{pointer}/{name}"), want.get(key), got.get(key), changes);
            }
        }
        (Some(Value::Array(want)), Some(Value::Array(got))) if want.len() == got.len() => {
            for (at, (want, got)) in want.iter().zip(got).enumerate() {
                compare(document, format!("{pointer}/{at}"), Some(want), Some(got), changes);
            }
        }
        (want, got) if want == got => {}
        (want, got) => {
            changes.push(DocumentChange { document, pointer, want: want.cloned(), got: got.cloned() });
        }
    }
}
