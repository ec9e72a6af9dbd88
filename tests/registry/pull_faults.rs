//! Faults while an image is read: its manifest, its config, its layer.

use carafe::registry::Registry;
use carafe_layers::oci::{Platform, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, resolve};

use crate::faulty::{FakeRegistry, Fault, Response};
use crate::table::{
    Outcome, SIZE, Script, both, check, client_for, edit, error, every, faults, image, layer, nth, page,
    retry_after,
};
use crate::{name, shown};

use Fault::{Garbage, Hang, LoseResponse, Respond, Short, Stall};
use Outcome::{Fails, Succeeds, TimesOut, Waits};

/// A hundred seconds after the clock's start.
const DATE: &str = "Thu, 01 Jan 1970 00:01:40 GMT";

/// A registry with the image and this fault.
fn server(fault: Script) -> FakeRegistry {
    let (server, resolved) = (FakeRegistry::scripted(fault), image().resolved());
    for name in ["1", &resolved.descriptor.digest.to_string()] {
        server.put(name, &resolved.manifest_bytes);
    }
    server.put(&resolved.manifest.config.digest.to_string(), &resolved.config_bytes);
    server.put(&resolved.manifest.layers[0].digest.to_string(), layer());
    server
}

/// Reads the image, and checks the number of bytes that were sent more than once.
#[track_caller]
fn pull(fault: Script, outcome: Outcome) {
    let server = server(fault);
    let (registry, clock) = client_for(&server, &outcome);
    let blobs = layer().len() as u64 + image().resolved().manifest.config.size;
    check(&outcome, read(&server, &registry).map(|()| server.sent() - blobs), &clock);
}

fn read(server: &FakeRegistry, registry: &Registry) -> Result<(), String> {
    let source = registry.source(&name(&server.image("a:1")));
    let resolved = resolve(&source, &Platform::host()).map_err(shown)?;
    let mut bytes = Vec::new();
    let mut reader = source.blob(&resolved.manifest.layers[0]).map_err(shown)?;
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    assert!(bytes == layer(), "received other bytes");
    Ok(())
}

/// This fault at the n-th request for the layer.
fn at(count: usize, fault: fn() -> Fault) -> Script {
    nth(count, "GET", layer_path(), fault)
}

/// The first connection breaks in the middle, and the second has this fault.
fn resumed(fault: fn() -> Fault) -> Script {
    both(at(1, || Short(1 << 20)), at(1, fault))
}

faults! { PULL, pull;
    blob_reset_before_its_first_byte: at(1, || Short(0)) => Succeeds(0);
    blob_reset_after_one_byte: at(1, || Short(1)) => Succeeds(0);
    blob_reset_in_the_middle: at(1, || Short(7_654_321)) => Succeeds(0);
    blob_reset_before_its_last_byte: at(1, || Short(SIZE - 1)) => Succeeds(0);
    blob_response_lost: at(1, || LoseResponse) => Succeeds(0);
    blob_response_not_http: at(1, || Garbage) => Succeeds(0);
    blob_stalls: at(1, || Stall) => TimesOut(0);
    blob_hangs_in_the_middle: at(1, || Hang(7_654_321)) => TimesOut(0);
    blob_502_from_a_proxy: at(1, || page(502)) => Succeeds(0);
    blob_408: at(1, || page(408)) => Succeeds(0);
    blob_425: at(1, || page(425)) => Succeeds(0);
    blob_429_with_seconds: at(1, || retry_after(429, "100")) => Waits(100, 0);
    blob_503_with_a_date: at(1, || retry_after(503, DATE)) => Waits(100, 0);
    blob_truncated_and_its_length_too: at(1, || {
        edit(|Response(status, headers, body)| Response(status, headers, body[..1000].to_vec()))
    }) => Succeeds(0);
    blob_with_other_bytes: at(1, || edit(|mut response| { response.2[SIZE / 2] ^= 1; response }))
        => Fails(&["failed to verify blob"]);
    blob_too_long: at(1, || edit(|mut response| { response.2.push(0); response }))
        => Fails(&["larger than the size in its descriptor"]);
    blob_404: at(1, || error(404, "BLOB_UNKNOWN", "blob unknown")) => Fails(&["not found"]);
    blob_403: at(1, || error(403, "DENIED", "not yours")) => Fails(&["denied access", "repository:a:pull"]);
    resumed_502_from_a_proxy: resumed(|| page(502)) => Succeeds(0);
    resumed_reset_again: resumed(|| Short(1 << 20)) => Succeeds(0);
    resumed_from_the_beginning: resumed(|| Respond(Response::status(200).body(layer()))) => Succeeds(1 << 20);
    resumed_with_another_range: resumed(|| edit(|mut response| {
        response.1.retain(|(key, _)| *key != "Content-Range");
        response.with("Content-Range", "bytes 5-13107199/13107200")
    })) => Fails(&["another part"]);
    resumed_416: resumed(|| page(416)) => Fails(&["status 416"]);
    connections_that_deliver_a_part_each: every("GET", layer_path(), || Short(1_500_000)) => Succeeds(0);
    connections_that_deliver_nothing: every("GET", layer_path(), || Short(0)) => Fails(&["was interrupted"]);
    manifest_reset: nth(1, "GET", "/manifests/", || Short(20)) => Succeeds(0);
    manifest_read_502_from_a_proxy: nth(1, "GET", "/manifests/", || page(502)) => Succeeds(0);
    manifest_read_429_with_a_date: nth(1, "GET", "/manifests/", || retry_after(429, DATE)) => Waits(100, 0);
    manifest_read_stalls: nth(1, "GET", "/manifests/", || Stall) => TimesOut(0);
    manifest_with_another_digest: nth(1, "GET", "/manifests/", || {
        edit(|response| response.with("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64))))
    }) => Fails(&["expected sha256:0000"]);
    manifest_with_a_page_of_a_captive_portal: nth(1, "GET", "/manifests/", || page(200)) => Fails(&["manifest"]);
    manifest_of_gigabytes: nth(1, "GET", "/manifests/", || {
        Respond(Response::status(200).with("Content-Type", media_type::MANIFEST)
            .body(vec![b' '; MAX_DOCUMENT_BYTES as usize + 1]))
    }) => Fails(&["larger than 4 MiB"]);
    manifest_404: every("GET", "/manifests/", || error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
        => Fails(&["not found", "MANIFEST_UNKNOWN"]);
}

fn layer_path() -> &'static str {
    image().resolved().manifest.layers[0].digest.to_string().leak()
}
