//! Writes images into layouts: layers as tars, a config with labels; and runs `carafe diff`.

use std::path::Path;
use std::process::Command;

use carafe_layers::digest::{DiffId, Digest};
use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::{Descriptor, Platform, media_type};
use serde_json::{Value, json};

use crate::unpack_support::{Tar, gzip};

pub const BENCH: &str = "home/frappe/frappe-bench";

/// Writes an image of these layers into a layout at `directory`, and returns its manifest.
pub fn image(directory: &Path, layers: &[Tar], labels: Value) -> Descriptor {
    let layers = layers.iter().map(|tar| tar.clone().bytes());
    stored(directory, layers.map(|tar| (gzip(&tar), Digest::of(&tar))).collect(), labels)
}

/// The same from blobs, each with the diff ID in the config.
pub fn stored(directory: &Path, layers: Vec<(Vec<u8>, Digest)>, labels: Value) -> Descriptor {
    let layout = LayoutWriter::create(directory).unwrap();
    let put = |kind: &str, bytes: &[u8]| layout.put_bytes(kind, bytes).unwrap();
    let json = |value: Value| serde_json::to_vec(&value).unwrap();
    let diff_ids: Vec<DiffId> = layers.iter().map(|(_, diff_id)| DiffId(*diff_id)).collect();
    let history: Vec<Value> =
        (0..layers.len()).map(|at| json!({"created_by": format!("carafe: layer-{at}")})).collect();
    let config = json!({
        "created": "2024-01-01T00:00:00Z", "architecture": Platform::host().architecture, "os": "linux", "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    });
    let config = put(media_type::CONFIG, &json(config));
    let layers: Vec<Descriptor> = layers.iter().map(|(blob, _)| put(media_type::LAYER_GZIP, blob)).collect();
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let manifest = put(media_type::MANIFEST, &json(manifest));
    layout.finish(&manifest, &[]).unwrap();
    manifest
}

/// `carafe` in `directory`, with a cache of its own.
pub fn carafe(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
    command.current_dir(directory).env("NO_COLOR", "1");
    command.env("CARAFE_CACHE_DIR", directory.join("cache")).env("HOME", directory);
    command
}

/// The output of `carafe diff`, which must end with this exit code: stdout, or stderr if it failed.
pub fn diff(directory: &Path, code: i32, arguments: &[&str]) -> String {
    let output = carafe(directory).arg("diff").args(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    if code == 1 { stderr } else { stdout }
}

/// The data in the JSON result of `carafe diff`, which must end with this exit code.
pub fn data(directory: &Path, code: i32, arguments: &[&str]) -> Value {
    let stdout = diff(directory, code, &[arguments, &["--json"]].concat());
    crate::json_output::result(&stdout)["data"].clone()
}
