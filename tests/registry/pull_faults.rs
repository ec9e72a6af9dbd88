//! Faults while an image is read: its manifest, its config, its layer.

use carafe::registry::Registry;
use carafe_layers::oci::{Platform, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, resolve};

use crate::faulty::{Answer, Fault, FaultyServer};
use crate::table::{
    Outcome, SIZE, Script, both, check, client_for, edit, every, faults, image, later, layer, nth, page,
    refusal,
};
use crate::{name, shown};

use Fault::{Garbage, Hang, LoseAnswer, Say, Short, Stall};
use Outcome::{Done, Fails, TimesOut, Waits};

/// A hundred seconds after the clock's start.
const DATE: &str = "Thu, 01 Jan 1970 00:01:40 GMT";

/// A registry that has the image, and this fault.
fn server(fault: Script) -> FaultyServer {
    let (server, resolved) = (FaultyServer::scripted(fault), image().resolved());
    for name in ["1", &resolved.descriptor.digest.to_string()] {
        server.put(name, &resolved.manifest_bytes);
    }
    server.put(&resolved.manifest.config.digest.to_string(), &resolved.config_bytes);
    server.put(&resolved.manifest.layers[0].digest.to_string(), layer());
    server
}

/// Reads the image; how many bytes were sent more than once.
#[track_caller]
fn pull(fault: Script, outcome: Outcome) {
    let server = server(fault);
    let (registry, clock) = client_for(&server, &outcome);
    let blobs = layer().len() as u64 + image().resolved().manifest.config.size;
    check(&outcome, read(&server, &registry).map(|()| server.sent() - blobs), &clock);
}

fn read(server: &FaultyServer, registry: &Registry) -> Result<(), String> {
    let source = registry.source(&name(&server.image("a:1")));
    let resolved = resolve(&source, &Platform::host()).map_err(shown)?;
    let mut bytes = Vec::new();
    let mut reader = source.blob(&resolved.manifest.layers[0]).map_err(shown)?;
    reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    assert!(bytes == layer(), "other bytes came");
    Ok(())
}

/// This fault where the layer is read for the n-th time.
fn at(count: usize, fault: fn() -> Fault) -> Script {
    nth(count, "GET", layer_path(), fault)
}

/// The first connection breaks in the middle, and the second has this fault.
fn resumed(fault: fn() -> Fault) -> Script {
    both(at(1, || Short(1 << 20)), at(1, fault))
}

faults! { PULL, pull;
    blob_reset_before_its_first_byte: at(1, || Short(0)) => Done(0);
    blob_reset_after_one_byte: at(1, || Short(1)) => Done(0);
    blob_reset_in_the_middle: at(1, || Short(7_654_321)) => Done(0);
    blob_reset_before_its_last_byte: at(1, || Short(SIZE - 1)) => Done(0);
    blob_without_answer: at(1, || LoseAnswer) => Done(0);
    blob_answered_by_no_http: at(1, || Garbage) => Done(0);
    blob_stalls: at(1, || Stall) => TimesOut(0);
    blob_hangs_in_the_middle: at(1, || Hang(7_654_321)) => TimesOut(0);
    blob_502_from_a_proxy: at(1, || page(502)) => Done(0);
    blob_408: at(1, || page(408)) => Done(0);
    blob_425: at(1, || page(425)) => Done(0);
    blob_429_with_seconds: at(1, || later(429, "100")) => Waits(100, 0);
    blob_503_with_a_date: at(1, || later(503, DATE)) => Waits(100, 0);
    blob_truncated_and_its_length_too: at(1, || {
        edit(|Answer(status, headers, body)| Answer(status, headers, body[..1000].to_vec()))
    }) => Done(0);
    blob_of_other_bytes: at(1, || edit(|mut answer| { answer.2[SIZE / 2] ^= 1; answer }))
        => Fails(&["wanted sha256:"]);
    blob_that_is_longer: at(1, || edit(|mut answer| { answer.2.push(0); answer }))
        => Fails(&["larger than its descriptor"]);
    blob_404: at(1, || refusal(404, "BLOB_UNKNOWN", "blob unknown")) => Fails(&["no such thing"]);
    blob_403: at(1, || refusal(403, "DENIED", "not yours")) => Fails(&["denies it", "repository:a:pull"]);
    rest_502_from_a_proxy: resumed(|| page(502)) => Done(0);
    rest_reset_again: resumed(|| Short(1 << 20)) => Done(0);
    rest_sent_from_the_beginning: resumed(|| Say(Answer::status(200).body(layer()))) => Done(1 << 20);
    rest_of_another_range: resumed(|| edit(|mut answer| {
        answer.1.retain(|(key, _)| *key != "Content-Range");
        answer.with("Content-Range", "bytes 5-13107199/13107200")
    })) => Fails(&["another part"]);
    rest_416: resumed(|| page(416)) => Fails(&["status 416"]);
    connections_that_bring_a_little_each: every("GET", layer_path(), || Short(1_500_000)) => Done(0);
    connections_that_bring_nothing: every("GET", layer_path(), || Short(0)) => Fails(&["broke off"]);
    manifest_reset: nth(1, "GET", "/manifests/", || Short(20)) => Done(0);
    manifest_read_502_from_a_proxy: nth(1, "GET", "/manifests/", || page(502)) => Done(0);
    manifest_read_429_with_a_date: nth(1, "GET", "/manifests/", || later(429, DATE)) => Waits(100, 0);
    manifest_read_stalls: nth(1, "GET", "/manifests/", || Stall) => TimesOut(0);
    manifest_with_another_digest: nth(1, "GET", "/manifests/", || {
        edit(|answer| answer.with("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64))))
    }) => Fails(&["wanted sha256:0000"]);
    manifest_that_is_a_portals_page: nth(1, "GET", "/manifests/", || page(200)) => Fails(&["manifest"]);
    manifest_of_gigabytes: nth(1, "GET", "/manifests/", || {
        Say(Answer::status(200).with("Content-Type", media_type::MANIFEST)
            .body(vec![b' '; MAX_DOCUMENT_BYTES as usize + 1]))
    }) => Fails(&["over 4194304 bytes"]);
    manifest_404: every("GET", "/manifests/", || refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"))
        => Fails(&["no such thing", "MANIFEST_UNKNOWN"]);
}

fn layer_path() -> &'static str {
    image().resolved().manifest.layers[0].digest.to_string().leak()
}
