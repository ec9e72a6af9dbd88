//! The result of `carafe build`.

use std::time::Duration;

use carafe_builder::egress::{BlockReason, BlockedRequest, PeerProcess, RecordingChange};
use carafe_layers::digest::Digest;
use carafe_layers::pack::PackedLayer;
use serde::Serialize;

use crate::build::Built;
use crate::build::egress::Traffic;
use crate::output::{CommandResult, Content, elapsed_time, layer_table};
use crate::pipeline::Destinations;
use crate::transfer::report::{Delivered, PushedData, layer_rows, sent_bytes};

/// The result of `carafe build`.
#[derive(Serialize)]
pub struct BuildResult {
    digest: Digest,
    names: Vec<String>,
    layers: Vec<LayerData>,
    recording: Option<RecordingData>,
    pushed: Vec<PushedData>,
    #[serde(skip)]
    summary: String,
}

#[derive(Serialize)]
struct LayerData {
    name: String,
    digest: Digest,
    diff_id: Digest,
    size: u64,
    uncompressed_size: u64,
    entries: u64,
}

#[derive(Serialize)]
struct RecordingData {
    digest: Digest,
    is_new: bool,
    responses: usize,
    changes: Vec<ChangeData>,
    blocked: Vec<BlockedData>,
    retries: u64,
    bytes_fetched: u64,
    bytes_served: u64,
}

#[derive(Serialize)]
struct ChangeData {
    change: &'static str,
    method: String,
    url: String,
}

#[derive(Serialize)]
struct BlockedData {
    method: String,
    url: String,
    reason: &'static str,
    message: String,
    process: Option<ProcessData>,
}

#[derive(Serialize)]
struct ProcessData {
    pid: u32,
    command: String,
}

impl BuildResult {
    /// `elapsed` is the duration of the command.
    pub fn new(built: &Built, delivered: &Delivered, destinations: &Destinations, elapsed: Duration) -> Self {
        let digest = built.image.descriptor.digest;
        Self {
            digest,
            names: delivered.names(digest, destinations.output.as_slice()),
            layers: built.layers.iter().map(LayerData::of).collect(),
            recording: built.traffic.as_ref().map(RecordingData::of),
            pushed: PushedData::list(&delivered.pushed),
            summary: summary(built, delivered, elapsed),
        }
    }
}

impl CommandResult for BuildResult {
    fn content(&self) -> Content<'_> {
        Content::Text { output: self.names.join("\n"), summary: self.summary.clone() }
    }
}

/// Changes of the recording, the table of layers, and the duration.
fn summary(built: &Built, delivered: &Delivered, elapsed: Duration) -> String {
    let mut changes: Vec<String> =
        built.traffic.iter().flat_map(|traffic| &traffic.changes).map(ToString::to_string).collect();
    // The same URL may have been requested with several values of `Accept`.
    changes.dedup();
    let base = built.sources.base.manifest.layers.iter().map(|layer| (None, layer));
    let own = built.layers.iter().map(|layer| (Some(layer.name.as_str()), &layer.descriptor));
    let rows = layer_rows(base.chain(own), &delivered.pushed);
    let done = if delivered.pushed.is_empty() { "built" } else { "built and pushed" };
    changes.push(format!("\n{}", layer_table(&rows, &sent_bytes(&delivered.pushed))));
    changes.push(format!("{done} in {}", elapsed_time(elapsed)));
    changes.join("\n")
}

impl LayerData {
    fn of(layer: &PackedLayer) -> Self {
        Self {
            name: layer.name.to_string(),
            digest: layer.descriptor.digest,
            diff_id: layer.diff_id.0,
            size: layer.descriptor.size,
            uncompressed_size: layer.uncompressed,
            entries: layer.entries,
        }
    }
}

impl RecordingData {
    fn of(traffic: &Traffic) -> Self {
        Self {
            digest: traffic.recording.digest(),
            is_new: traffic.is_new,
            responses: traffic.recording.entries().len(),
            changes: traffic.changes.iter().map(ChangeData::of).collect(),
            blocked: traffic.blocked.iter().map(BlockedData::of).collect(),
            retries: traffic.retries,
            bytes_fetched: traffic.bytes_fetched,
            bytes_served: traffic.bytes_served,
        }
    }
}

impl ChangeData {
    fn of(change: &RecordingChange) -> Self {
        let kind = match (&change.before, &change.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        let request = &change.request;
        Self { change: kind, method: request.method.to_string(), url: request.url.to_string() }
    }
}

impl BlockedData {
    fn of(blocked: &BlockedRequest) -> Self {
        let reason = match &blocked.reason {
            BlockReason::NotRecorded => "not_recorded",
            BlockReason::BodyMissing { .. } => "body_unavailable",
            BlockReason::PrivateAddress { .. } => "private_address",
            BlockReason::Method => "unsupported_method",
            BlockReason::Malformed { .. } => "malformed_request",
            BlockReason::Bypass => "proxy_bypass",
        };
        let process = blocked.peer.as_ref();
        Self {
            method: blocked.method.clone(),
            url: blocked.url.clone(),
            reason,
            message: blocked.reason.to_string(),
            process: process
                .map(|PeerProcess { pid, command }| ProcessData { pid: *pid, command: command.clone() }),
        }
    }
}
