//! Faults during a push.

use std::sync::atomic::{AtomicUsize, Ordering};

use carafe::registry::MountCandidates;
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;

use crate::faulty::{FakeRegistry, Fault, Response};
use crate::table::{
    CHUNK, Outcome, SIZE, Script, both, check, client_for, edit, error, every, faults, image, nth, page,
    retry_after,
};
use crate::{name, shown};

use Fault::{Cut, Drop, Garbage, HalfClose, LoseResponse, Refuse, Respond, Stall, StopReading};
use Outcome::{Fails, Succeeds, TimesOut, Waits};

/// A hundred seconds after the clock's start.
const DATE: &str = "Thu, 01 Jan 1970 00:01:40 GMT";
const ALL: u64 = SIZE as u64;

/// Pushes the image to a registry that has this fault.
#[track_caller]
fn push(fault: Script, outcome: Outcome) {
    let server = FakeRegistry::scripted(fault);
    let (registry, clock) = client_for(&server, &outcome);
    let (resolved, target, mut candidates) =
        (image().resolved(), name(&server.image("a:1")), MountCandidates::default());
    let layer = resolved.manifest.layers[0].digest;
    candidates.add(name(&server.image("base")).repository(), [layer]);
    let pushed = registry.push(&resolved, image(), &[target], &candidates, &Progress::silent());
    let moved = server.stored("1");
    let result = match pushed {
        Ok(_) => {
            assert_eq!(moved, Some(resolved.manifest_bytes.clone()));
            let stored = server.stored(&layer.to_string()).map(|bytes| Digest::of(&bytes));
            assert!(stored == Some(layer) || server.received() < ALL, "the stored layer is wrong");
            Ok(server.received().saturating_sub(ALL + resolved.manifest.config.size))
        }
        Err(error) => {
            assert_eq!(moved, None, "a tag moved");
            Err(shown(error))
        }
    };
    check(&outcome, result, &clock);
}

fn header(response: Response, key: &'static str, value: &str) -> Response {
    let Response(status, mut headers, body) = response;
    headers.retain(|(name, _)| *name != key);
    Response(status, headers, body).with(key, value)
}

/// The first PATCH is cut off, and the first request for the offset has this fault.
fn at_status(fault: fn() -> Fault) -> Script {
    both(nth(1, "PATCH", "/uploads/", || Cut(5)), nth(1, "GET", "/uploads/", fault))
}

/// A registry without chunks, and this fault in the monolithic upload.
fn monolithic(fault: fn() -> Fault) -> Script {
    // The session of the mount gets the chunk; the next POST opens the one for the complete blob.
    both(every("PATCH", "", || page(405)), nth(1, "PUT", "/uploads/", fault))
}

fn sha(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

faults! { PUSH, push;
    // Whether the blob exists.
    head_reset: nth(1, "HEAD", "/blobs/", || Cut(0)) => Succeeds(0);
    head_response_lost: nth(1, "HEAD", "/blobs/", || LoseResponse) => Succeeds(0);
    head_not_http: nth(1, "HEAD", "/blobs/", || Garbage) => Succeeds(0);
    head_stalls: nth(1, "HEAD", "/blobs/", || Stall) => TimesOut(0);
    head_502_from_a_proxy: nth(1, "HEAD", "/blobs/", || page(502)) => Succeeds(0);
    head_408: nth(1, "HEAD", "/blobs/", || page(408)) => Succeeds(0);
    head_425: nth(1, "HEAD", "/blobs/", || page(425)) => Succeeds(0);
    head_429_with_seconds: nth(1, "HEAD", "/blobs/", || retry_after(429, "100")) => Waits(100, 0);
    head_503_with_a_date: nth(1, "HEAD", "/blobs/", || retry_after(503, DATE)) => Waits(100, 0);
    head_with_another_digest: every("HEAD", "/blobs/", || {
        Respond(Response::status(200).with("Docker-Content-Digest", sha("0")))
    }) => Fails(&["expected sha256:", "got sha256:0000"]);

    // Mounting from the repository of the base image.
    mount_429_with_seconds: nth(1, "POST", "mount=", || retry_after(429, "100")) => Waits(100, 0);
    mount_stalls: nth(1, "POST", "mount=", || Stall) => TimesOut(0);
    mount_401: every("POST", "mount=", || error(401, "UNAUTHORIZED", "not yours")) => Succeeds(0);
    mount_403: every("POST", "mount=", || error(403, "DENIED", "not yours")) => Succeeds(0);
    mount_404: every("POST", "mount=", || error(404, "NAME_UNKNOWN", "no base")) => Succeeds(0);
    mount_405: every("POST", "mount=", || page(405)) => Succeeds(0);
    mount_202_without_location: nth(1, "POST", "mount=", || Respond(Response::status(202))) => Succeeds(0);
    mount_202_whose_session_is_lost: nth(1, "PATCH", "/session-1", || page(404)) => Succeeds(CHUNK);

    // Opening an upload. A mount was rejected before.
    opening_503: opening(|| page(503)) => Succeeds(0);
    opening_429_with_a_date: opening(|| retry_after(429, DATE)) => Waits(100, 0);
    opening_response_lost: opening(|| LoseResponse) => Succeeds(0);
    opening_stalls: opening(|| Stall) => TimesOut(0);
    opening_with_a_location_relative_to_the_path: opening(|| {
        edit(|response| header(response, "Location", "session-1"))
    }) => Succeeds(0);
    opening_with_a_location_whose_query_is_needed: stateful() => Succeeds(0);
    opening_without_location: opening(|| Respond(Response::status(202))) => Fails(&["without a location"]);
    opening_with_a_location_that_is_not_a_url: opening(|| {
        Respond(Response::status(202).with("Location", "http://["))
    }) => Fails(&["location of its upload is not a URL"]);
    opening_with_a_location_that_is_not_http: opening(|| {
        Respond(Response::status(202).with("Location", "file:///etc/passwd"))
    }) => Fails(&["location of its upload"]);
    opening_with_a_page_of_a_captive_portal: opening(|| page(200)) => Fails(&["without a location"]);
    opening_redirected: both(opening(|| {
        Respond(Response::status(307).with("Location", "/v2/a/blobs/uploads/?moved"))
    }), every("GET", "?moved", || page(500))) => Succeeds(0);
    opening_in_a_project_that_does_not_exist: opening(|| {
        error(404, "NAME_UNKNOWN", "repository name not known to registry")
    }) => Fails(&["project or repository does not exist", "create it first", "aws ecr create-repository"]);
    opening_with_an_invalid_name: opening(|| {
        error(400, "NAME_INVALID", "invalid repository name")
    }) => Fails(&["name is invalid", "project/a"]);
    opening_403: opening(|| error(403, "DENIED", "requested access is denied"))
        => Fails(&["denied access", "repository:a:pull,push repository:base:pull"]);
    opening_401: every("POST", "", || error(401, "UNAUTHORIZED", "authentication required"))
        => Fails(&["requires other credentials", "repository:a:pull,push", "docker login"]);
    opening_in_read_only_mode: opening(|| {
        error(403, "DENIED", "The system is in read only mode. Any modification is prohibited.")
    }) => Fails(&["the registry is read-only", "maintenance"]);

    // A chunk.
    chunk_reset_at_its_first_byte: patch(|| Cut(0)) => Succeeds(0);
    chunk_reset_after_one_byte: patch(|| Cut(1)) => Succeeds(0);
    chunk_reset_in_the_middle: patch(|| Cut(1_000_000)) => Succeeds(0);
    chunk_reset_before_its_last_byte: patch(|| Cut(CHUNK as usize - 1)) => Succeeds(0);
    chunk_reset_at_its_end: patch(|| Cut(CHUNK as usize)) => Succeeds(0);
    first_chunk_reset_in_the_middle: nth(1, "PATCH", "", || Cut(4 << 20)) => Succeeds(0);
    last_chunk_reset_in_the_middle: nth(3, "PATCH", "", || Cut(2 << 20)) => Succeeds(0);
    chunk_reset_and_its_part_dropped: patch(|| Drop(5_000_000)) => Succeeds(5_000_000);
    chunk_response_lost: patch(|| LoseResponse) => Succeeds(0);
    chunk_half_closed_at_once: patch(|| HalfClose(0)) => Succeeds(0);
    chunk_half_closed_in_the_middle: patch(|| HalfClose(3 << 20)) => Succeeds(CHUNK);
    chunk_half_closed_at_its_end: patch(|| HalfClose(CHUNK as usize)) => Succeeds(CHUNK);
    chunk_not_read: patch(|| StopReading(0)) => TimesOut(0);
    chunk_read_in_part: patch(|| StopReading(2 << 20)) => TimesOut(2 << 20);
    chunk_response_lost_for_long: patch(|| Stall) => TimesOut(CHUNK);
    chunk_response_not_http: patch(|| Garbage) => Succeeds(CHUNK);
    chunk_502_from_a_proxy: patch(|| page(502)) => Succeeds(CHUNK);
    chunk_500: patch(|| page(500)) => Succeeds(CHUNK);
    chunk_408: patch(|| page(408)) => Succeeds(CHUNK);
    chunk_425: patch(|| page(425)) => Succeeds(CHUNK);
    chunk_429_with_seconds: patch(|| retry_after(429, "100")) => Waits(100, CHUNK);
    chunk_429_with_a_date: patch(|| retry_after(429, DATE)) => Waits(100, CHUNK);
    chunk_503_with_seconds: patch(|| retry_after(503, "100")) => Waits(100, CHUNK);
    chunk_504_after_it_was_stored: patch(|| {
        edit(|_| Response::status(504).body("<html>Gateway Time-out</html>"))
    }) => Succeeds(0);
    chunk_416_with_a_range: patch(|| Respond(Response::status(416).with("Range", "0-5242879"))) => Succeeds(CHUNK);
    chunk_416_without_range: patch(|| page(416)) => Succeeds(CHUNK);
    chunk_416_after_it_was_stored: patch(|| edit(|_| Response::status(416))) => Succeeds(0);
    chunk_stored_in_part: patch(|| Cut(4 << 20)) => Succeeds(0);
    chunk_with_a_range_beyond_its_end: nth(1, "PATCH", "", || {
        Respond(Response::status(202).with("Range", "0-20000000"))
    }) => Fails(&["more bytes of the blob than were sent"]);
    chunk_response_without_headers: patch(|| edit(|response| Response::status(response.0))) => Succeeds(0);
    chunk_response_with_an_invalid_range: patch(|| {
        edit(|response| header(response, "Range", "bytes */*"))
    }) => Succeeds(0);
    chunk_413_from_a_proxy: patch(|| page(413))
        => Fails(&["rejected a 5 MiB request", "client_max_body_size"]);
    chunk_413_before_it_is_read: patch(|| Refuse(Response::status(413).body("<html>Too Large</html>")))
        => Fails(&["rejected a 5 MiB request", "client_max_body_size"]);
    chunk_400: patch(|| page(400)) => Fails(&["status 400"]);
    chunk_403: patch(|| page(403)) => Fails(&["denied access"]);
    chunk_507: patch(|| page(507)) => Fails(&["status 507"]);
    session_404_at_a_chunk: patch(|| page(404)) => Succeeds(2 * CHUNK);
    session_410_at_a_chunk: patch(|| page(410)) => Succeeds(2 * CHUNK);
    session_lost_at_every_second_chunk: lost_at_the_second_chunk() => Fails(&["dropped the upload"]);
    session_lost_at_every_chunk: every("PATCH", "", || page(404)) => Fails(&["dropped the upload"]);

    // The offset of an upload.
    status_reset: at_status(|| Cut(0)) => Succeeds(0);
    status_502_from_a_proxy: at_status(|| page(502)) => Succeeds(0);
    status_stalls: at_status(|| Stall) => TimesOut(0);
    status_without_range: at_status(|| Respond(Response::status(204))) => Succeeds(5);
    status_with_a_range_beyond_the_blob: at_status(|| {
        Respond(Response::status(204).with("Range", "0-99999999"))
    }) => Succeeds(5);
    status_404: at_status(|| page(404)) => Succeeds(5);
    status_405: at_status(|| page(405)) => Succeeds(5);

    // The end of a blob.
    end_response_lost: finish(|| LoseResponse) => Succeeds(0);
    end_502_after_it_was_stored: finish(|| edit(|_| Response::status(502))) => Succeeds(0);
    end_500: finish(|| page(500)) => Succeeds(0);
    end_stalls: finish(|| Stall) => TimesOut(0);
    end_429_with_seconds: finish(|| retry_after(429, "100")) => Waits(100, 0);
    end_416: finish(|| page(416)) => Succeeds(0);
    end_404: finish(|| page(404)) => Succeeds(ALL);
    end_response_without_headers: finish(|| edit(|response| Response::status(response.0))) => Succeeds(0);
    end_with_another_digest: finish(|| {
        edit(|response| header(response, "Docker-Content-Digest", &sha("0")))
    }) => Fails(&["expected sha256:", "got sha256:0000"]);
    end_400_for_the_digest: finish(|| error(400, "DIGEST_INVALID", "it did not match"))
        => Fails(&["status 400", "DIGEST_INVALID"]);
    end_over_the_quota: finish(|| {
        error(403, "DENIED", "adding 20.0 MiB of storage resource will exceed the configured upper limit")
    }) => Fails(&["storage quota exceeded", "20.0 MiB", "raised"]);

    // Registries without chunks.
    no_chunks: every("PATCH", "", || page(405)) => Succeeds(CHUNK);
    no_chunks_501: every("PATCH", "", || page(501)) => Succeeds(CHUNK);
    no_chunks_and_a_reset: monolithic(|| Drop(10 << 20)) => Succeeds(CHUNK + (10 << 20));
    no_chunks_and_not_read: monolithic(|| StopReading(10 << 20)) => TimesOut(CHUNK + (10 << 20));
    no_chunks_and_response_lost: monolithic(|| LoseResponse) => Succeeds(CHUNK + ALL);
    no_chunks_and_429_with_seconds: monolithic(|| retry_after(429, "100")) => Waits(100, CHUNK + ALL);
    no_chunks_and_413: monolithic(|| page(413)) => Fails(&["rejected a 12.5 MiB request"]);

    // The manifest, and the tag.
    manifest_502_from_a_proxy: nth(1, "PUT", "/manifests/sha256:", || page(502)) => Succeeds(0);
    manifest_response_lost: nth(1, "PUT", "/manifests/sha256:", || LoseResponse) => Succeeds(0);
    manifest_stored_without_location: nth(1, "PUT", "/manifests/sha256:", || {
        edit(|response| Response::status(response.0))
    }) => Succeeds(0);
    manifest_stored_with_another_digest: nth(1, "PUT", "/manifests/sha256:", || {
        edit(|response| header(response, "Docker-Content-Digest", &sha("0")))
    }) => Fails(&["got sha256:0000"]);
    manifest_whose_layer_is_unknown: nth(1, "PUT", "/manifests/sha256:", || {
        error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
    }) => Fails(&["MANIFEST_BLOB_UNKNOWN"]);
    manifest_missing_after_the_push: every("HEAD", "/manifests/", || page(404)) => Fails(&["does not have it"]);
    manifest_head_without_digest: nth(1, "HEAD", "/manifests/", || Respond(Response::status(200))) => Succeeds(0);
    manifest_head_412_from_a_scanner: every("HEAD", "/manifests/", || page(412)) => Succeeds(0);
    manifest_get_cut_short: nth(1, "GET", "/manifests/", || Fault::Short(10)) => Succeeds(0);
    tag_429_with_a_date: nth(1, "PUT", "/manifests/1", || retry_after(429, DATE)) => Waits(100, 0);
    tag_502_from_a_proxy: nth(1, "PUT", "/manifests/1", || page(502)) => Succeeds(0);
    tag_stalls: nth(1, "PUT", "/manifests/1", || Stall) => TimesOut(0);
    tag_immutable_and_unchanged: nth(1, "PUT", "/manifests/1", || edit(|_| {
        let body = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
        Response::status(400).body(body)
    })) => Succeeds(0);
    tag_immutable: every("PUT", "/manifests/1", || {
        error(412, "PRECONDITION", "Failed to process request due to 'a:1' configured as immutable.")
    }) => Fails(&["the tag is immutable", "another tag"]);
}

/// This fault when an upload is opened, after a mount was rejected.
fn opening(fault: fn() -> Fault) -> Script {
    both(every("POST", "mount=", || page(405)), nth(1, "POST", "/uploads/", fault))
}

/// A registry with the state of an upload in its location, as docker-registry has: each response has
/// the next location, and requests to another one are rejected.
fn stateful() -> Script {
    let states = AtomicUsize::new(0);
    Box::new(move |request| {
        let state = states.load(Ordering::Relaxed);
        let is_of_upload = ["PATCH", "PUT"].iter().any(|method| request.is(method, "/session-1"));
        if is_of_upload && !request.target.contains(&format!("?_state=a%2F{state}%3D")) {
            return Some(page(400));
        }
        let is_state_new = request.is("PATCH", "/session-1") || request.is("POST", "mount=");
        is_state_new.then(|| {
            let next = states.fetch_add(1, Ordering::Relaxed) + 1;
            edit(move |response| {
                header(response, "Location", &format!("/v2/a/blobs/uploads/session-1?_state=a%2F{next}%3D"))
            })
        })
    })
}

/// Every upload is lost at its second chunk.
fn lost_at_the_second_chunk() -> Script {
    Box::new(|request| {
        let is_second = request.headers.get("content-range").is_some_and(|range| !range.starts_with("0-"));
        is_second.then(|| page(404))
    })
}

/// This fault at the second chunk.
fn patch(fault: fn() -> Fault) -> Script {
    nth(2, "PATCH", "/uploads/", fault)
}

/// This fault at the end of the upload of the layer.
fn finish(fault: fn() -> Fault) -> Script {
    nth(1, "PUT", "/uploads/", fault)
}
