//! Faults while an image is pushed.

use std::sync::atomic::{AtomicUsize, Ordering};

use carafe::registry::MountCandidates;
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;

use crate::faulty::{Answer, Fault, FaultyServer};
use crate::table::{
    CHUNK, Outcome, SIZE, Script, both, check, client_for, edit, every, faults, image, later, nth, page,
    refusal,
};
use crate::{name, shown};

use Fault::{Cut, Drop, Garbage, HalfClose, LoseAnswer, Refuse, Say, Stall, StopReading};
use Outcome::{Done, Fails, TimesOut, Waits};

/// A hundred seconds after the clock's start.
const DATE: &str = "Thu, 01 Jan 1970 00:01:40 GMT";
const ALL: u64 = SIZE as u64;

/// Pushes the image to a registry that has this fault.
#[track_caller]
fn push(fault: Script, outcome: Outcome) {
    let server = FaultyServer::scripted(fault);
    let (registry, clock) = client_for(&server, &outcome);
    let (resolved, target, mut known) =
        (image().resolved(), name(&server.image("a:1")), MountCandidates::default());
    let layer = resolved.manifest.layers[0].digest;
    known.add(name(&server.image("base")).repository(), [layer]);
    let pushed = registry.push(&resolved, image(), &[target], &known, &Progress::silent());
    let moved = server.stored("1");
    let result = match pushed {
        Ok(_) => {
            assert_eq!(moved, Some(resolved.manifest_bytes.clone()));
            let stored = server.stored(&layer.to_string()).map(|bytes| Digest::of(&bytes));
            assert!(stored == Some(layer) || server.received() < ALL, "the layer is another");
            Ok(server.received().saturating_sub(ALL + resolved.manifest.config.size))
        }
        Err(error) => {
            assert_eq!(moved, None, "a tag moved");
            Err(shown(error))
        }
    };
    check(&outcome, result, &clock);
}

fn header(answer: Answer, key: &'static str, value: &str) -> Answer {
    let Answer(status, mut headers, body) = answer;
    headers.retain(|(known, _)| *known != key);
    Answer(status, headers, body).with(key, value)
}

/// The first PATCH meets this fault, and the first question how far it is that one.
fn then_asked(fault: fn() -> Fault) -> Script {
    both(nth(1, "PATCH", "/uploads/", || Cut(5)), nth(1, "GET", "/uploads/", fault))
}

/// A registry that takes no chunks, and has this fault when it is sent the blob.
fn whole(fault: fn() -> Fault) -> Script {
    // The mount's session gets the chunk; the POST after it opens the one for the whole blob.
    both(every("PATCH", "", || page(405)), nth(1, "PUT", "/uploads/", fault))
}

fn sha(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

faults! { PUSH, push;
    // Is it there?
    head_reset: nth(1, "HEAD", "/blobs/", || Cut(0)) => Done(0);
    head_without_answer: nth(1, "HEAD", "/blobs/", || LoseAnswer) => Done(0);
    head_that_is_no_http: nth(1, "HEAD", "/blobs/", || Garbage) => Done(0);
    head_stalls: nth(1, "HEAD", "/blobs/", || Stall) => TimesOut(0);
    head_502_from_a_proxy: nth(1, "HEAD", "/blobs/", || page(502)) => Done(0);
    head_408: nth(1, "HEAD", "/blobs/", || page(408)) => Done(0);
    head_425: nth(1, "HEAD", "/blobs/", || page(425)) => Done(0);
    head_429_with_seconds: nth(1, "HEAD", "/blobs/", || later(429, "100")) => Waits(100, 0);
    head_503_with_a_date: nth(1, "HEAD", "/blobs/", || later(503, DATE)) => Waits(100, 0);
    head_with_another_digest: every("HEAD", "/blobs/", || {
        Say(Answer::status(200).with("Docker-Content-Digest", sha("0")))
    }) => Fails(&["wanted sha256:", "got sha256:0000"]);

    // Mounting from the base's repository.
    mount_429_with_seconds: nth(1, "POST", "mount=", || later(429, "100")) => Waits(100, 0);
    mount_stalls: nth(1, "POST", "mount=", || Stall) => TimesOut(0);
    mount_401: every("POST", "mount=", || refusal(401, "UNAUTHORIZED", "not yours")) => Done(0);
    mount_403: every("POST", "mount=", || refusal(403, "DENIED", "not yours")) => Done(0);
    mount_404: every("POST", "mount=", || refusal(404, "NAME_UNKNOWN", "no base")) => Done(0);
    mount_405: every("POST", "mount=", || page(405)) => Done(0);
    mount_202_without_location: nth(1, "POST", "mount=", || Say(Answer::status(202))) => Done(0);
    mount_202_whose_session_is_lost: nth(1, "PATCH", "/session-1", || page(404)) => Done(CHUNK);

    // Opening an upload. A mount is refused first.
    opening_503: opening(|| page(503)) => Done(0);
    opening_429_with_a_date: opening(|| later(429, DATE)) => Waits(100, 0);
    opening_without_answer: opening(|| LoseAnswer) => Done(0);
    opening_stalls: opening(|| Stall) => TimesOut(0);
    opening_with_a_location_relative_to_the_path: opening(|| {
        edit(|answer| header(answer, "Location", "session-1"))
    }) => Done(0);
    opening_with_a_location_whose_query_is_needed: stateful() => Done(0);
    opening_without_location: opening(|| Say(Answer::status(202))) => Fails(&["does not say where"]);
    opening_with_a_location_that_is_no_url: opening(|| {
        Say(Answer::status(202).with("Location", "http://["))
    }) => Fails(&["location of its upload is no URL"]);
    opening_with_a_location_that_is_no_http: opening(|| {
        Say(Answer::status(202).with("Location", "file:///etc/passwd"))
    }) => Fails(&["location of its upload"]);
    opening_with_a_page_of_a_portal: opening(|| page(200)) => Fails(&["does not say where"]);
    opening_redirected: both(opening(|| {
        Say(Answer::status(307).with("Location", "/v2/a/blobs/uploads/?moved"))
    }), every("GET", "?moved", || page(500))) => Done(0);
    opening_in_a_project_that_does_not_exist: opening(|| {
        refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
    }) => Fails(&["project or repository does not exist", "create it first", "aws ecr create-repository"]);
    opening_with_an_invalid_name: opening(|| {
        refusal(400, "NAME_INVALID", "invalid repository name")
    }) => Fails(&["name is not valid", "project/a"]);
    opening_403: opening(|| refusal(403, "DENIED", "requested access is denied"))
        => Fails(&["denies it", "repository:a:pull,push repository:base:pull"]);
    opening_401: every("POST", "", || refusal(401, "UNAUTHORIZED", "authentication required"))
        => Fails(&["wants other credentials", "repository:a:pull,push", "docker login"]);
    opening_in_read_only_mode: opening(|| {
        refusal(403, "DENIED", "The system is in read only mode. Any modification is prohibited.")
    }) => Fails(&["it is read-only", "maintenance"]);

    // A chunk.
    chunk_reset_at_its_first_byte: patch(|| Cut(0)) => Done(0);
    chunk_reset_after_one_byte: patch(|| Cut(1)) => Done(0);
    chunk_reset_in_the_middle: patch(|| Cut(1_000_000)) => Done(0);
    chunk_reset_before_its_last_byte: patch(|| Cut(CHUNK as usize - 1)) => Done(0);
    chunk_reset_at_its_end: patch(|| Cut(CHUNK as usize)) => Done(0);
    first_chunk_reset_in_the_middle: nth(1, "PATCH", "", || Cut(4 << 20)) => Done(0);
    last_chunk_reset_in_the_middle: nth(3, "PATCH", "", || Cut(2 << 20)) => Done(0);
    chunk_reset_and_its_part_dropped: patch(|| Drop(5_000_000)) => Done(5_000_000);
    chunk_whose_answer_is_lost: patch(|| LoseAnswer) => Done(0);
    chunk_half_closed_at_once: patch(|| HalfClose(0)) => Done(0);
    chunk_half_closed_in_the_middle: patch(|| HalfClose(3 << 20)) => Done(CHUNK);
    chunk_half_closed_at_its_end: patch(|| HalfClose(CHUNK as usize)) => Done(CHUNK);
    chunk_that_nobody_reads: patch(|| StopReading(0)) => TimesOut(0);
    chunk_read_in_part_only: patch(|| StopReading(2 << 20)) => TimesOut(2 << 20);
    chunk_without_answer_for_long: patch(|| Stall) => TimesOut(CHUNK);
    chunk_answered_by_no_http: patch(|| Garbage) => Done(CHUNK);
    chunk_502_from_a_proxy: patch(|| page(502)) => Done(CHUNK);
    chunk_500: patch(|| page(500)) => Done(CHUNK);
    chunk_408: patch(|| page(408)) => Done(CHUNK);
    chunk_425: patch(|| page(425)) => Done(CHUNK);
    chunk_429_with_seconds: patch(|| later(429, "100")) => Waits(100, CHUNK);
    chunk_429_with_a_date: patch(|| later(429, DATE)) => Waits(100, CHUNK);
    chunk_503_with_seconds: patch(|| later(503, "100")) => Waits(100, CHUNK);
    chunk_504_that_had_arrived: patch(|| {
        edit(|_| Answer::status(504).body("<html>Gateway Time-out</html>"))
    }) => Done(0);
    chunk_416_with_a_range: patch(|| Say(Answer::status(416).with("Range", "0-5242879"))) => Done(CHUNK);
    chunk_416_without_range: patch(|| page(416)) => Done(CHUNK);
    chunk_416_that_had_arrived: patch(|| edit(|_| Answer::status(416))) => Done(0);
    chunk_taken_in_part: patch(|| Cut(4 << 20)) => Done(0);
    chunk_of_which_more_is_taken_than_was_sent: nth(1, "PATCH", "", || {
        Say(Answer::status(202).with("Range", "0-20000000"))
    }) => Fails(&["more of the blob than it was sent"]);
    chunk_answered_without_headers: patch(|| edit(|answer| Answer::status(answer.0))) => Done(0);
    chunk_answered_with_a_range_that_is_none: patch(|| {
        edit(|answer| header(answer, "Range", "bytes */*"))
    }) => Done(0);
    chunk_413_from_a_proxy: patch(|| page(413))
        => Fails(&["no request of 5242880 bytes", "client_max_body_size"]);
    chunk_413_before_it_is_read: patch(|| Refuse(Answer::status(413).body("<html>Too Large</html>")))
        => Fails(&["no request of 5242880 bytes", "client_max_body_size"]);
    chunk_400: patch(|| page(400)) => Fails(&["status 400"]);
    chunk_403: patch(|| page(403)) => Fails(&["denies it"]);
    chunk_507: patch(|| page(507)) => Fails(&["status 507"]);
    session_lost_at_a_chunk: patch(|| page(404)) => Done(2 * CHUNK);
    session_410_at_a_chunk: patch(|| page(410)) => Done(2 * CHUNK);
    session_lost_at_every_second_chunk: lost_at_the_second_chunk() => Fails(&["dropped the upload"]);
    session_lost_at_every_chunk: every("PATCH", "", || page(404)) => Fails(&["dropped the upload"]);

    // How far is it?
    status_reset: then_asked(|| Cut(0)) => Done(0);
    status_502_from_a_proxy: then_asked(|| page(502)) => Done(0);
    status_stalls: then_asked(|| Stall) => TimesOut(0);
    status_without_range: then_asked(|| Say(Answer::status(204))) => Done(5);
    status_with_a_range_beyond_the_blob: then_asked(|| {
        Say(Answer::status(204).with("Range", "0-99999999"))
    }) => Done(5);
    status_404: then_asked(|| page(404)) => Done(5);
    status_405: then_asked(|| page(405)) => Done(5);

    // The end of a blob.
    end_without_answer: finish(|| LoseAnswer) => Done(0);
    end_502_that_had_arrived: finish(|| edit(|_| Answer::status(502))) => Done(0);
    end_500: finish(|| page(500)) => Done(0);
    end_stalls: finish(|| Stall) => TimesOut(0);
    end_429_with_seconds: finish(|| later(429, "100")) => Waits(100, 0);
    end_416: finish(|| page(416)) => Done(0);
    end_404: finish(|| page(404)) => Done(ALL);
    end_answered_without_headers: finish(|| edit(|answer| Answer::status(answer.0))) => Done(0);
    end_with_another_digest: finish(|| {
        edit(|answer| header(answer, "Docker-Content-Digest", &sha("0")))
    }) => Fails(&["wanted sha256:", "got sha256:0000"]);
    end_400_for_the_digest: finish(|| refusal(400, "DIGEST_INVALID", "it did not match"))
        => Fails(&["status 400", "DIGEST_INVALID"]);
    end_over_the_quota: finish(|| {
        refusal(403, "DENIED", "adding 20.0 MiB of storage resource will exceed the configured upper limit")
    }) => Fails(&["its quota is used up", "20.0 MiB", "raised"]);

    // Registries that take no chunks.
    no_chunks: every("PATCH", "", || page(405)) => Done(CHUNK);
    no_chunks_by_another_word: every("PATCH", "", || page(501)) => Done(CHUNK);
    no_chunks_and_a_reset: whole(|| Drop(10 << 20)) => Done(CHUNK + (10 << 20));
    no_chunks_and_nobody_reads: whole(|| StopReading(10 << 20)) => TimesOut(CHUNK + (10 << 20));
    no_chunks_and_no_answer: whole(|| LoseAnswer) => Done(CHUNK + ALL);
    no_chunks_and_429_with_seconds: whole(|| later(429, "100")) => Waits(100, CHUNK + ALL);
    no_chunks_and_413: whole(|| page(413)) => Fails(&["no request of 13107200 bytes"]);

    // The manifest, and the tag.
    manifest_502_from_a_proxy: nth(1, "PUT", "/manifests/sha256:", || page(502)) => Done(0);
    manifest_whose_answer_is_lost: nth(1, "PUT", "/manifests/sha256:", || LoseAnswer) => Done(0);
    manifest_stored_without_location: nth(1, "PUT", "/manifests/sha256:", || {
        edit(|answer| Answer::status(answer.0))
    }) => Done(0);
    manifest_stored_as_another: nth(1, "PUT", "/manifests/sha256:", || {
        edit(|answer| header(answer, "Docker-Content-Digest", &sha("0")))
    }) => Fails(&["got sha256:0000"]);
    manifest_whose_layer_is_unknown: nth(1, "PUT", "/manifests/sha256:", || {
        refusal(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
    }) => Fails(&["MANIFEST_BLOB_UNKNOWN"]);
    manifest_gone_when_asked_for: every("HEAD", "/manifests/", || page(404)) => Fails(&["does not have it"]);
    manifest_head_without_digest: nth(1, "HEAD", "/manifests/", || Say(Answer::status(200))) => Done(0);
    manifest_head_412_of_a_scanner: every("HEAD", "/manifests/", || page(412)) => Done(0);
    manifest_get_cut_short: nth(1, "GET", "/manifests/", || Fault::Short(10)) => Done(0);
    tag_429_with_a_date: nth(1, "PUT", "/manifests/1", || later(429, DATE)) => Waits(100, 0);
    tag_502_from_a_proxy: nth(1, "PUT", "/manifests/1", || page(502)) => Done(0);
    tag_stalls: nth(1, "PUT", "/manifests/1", || Stall) => TimesOut(0);
    tag_that_is_immutable_and_right: nth(1, "PUT", "/manifests/1", || edit(|_| {
        let body = r#"{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}"#;
        Answer::status(400).body(body)
    })) => Done(0);
    tag_that_is_immutable: every("PUT", "/manifests/1", || {
        refusal(412, "PRECONDITION", "Failed to process request due to 'a:1' configured as immutable.")
    }) => Fails(&["the tag is immutable", "another tag"]);
}

/// This fault where an upload is opened, after a mount was refused.
fn opening(fault: fn() -> Fault) -> Script {
    both(every("POST", "mount=", || page(405)), nth(1, "POST", "/uploads/", fault))
}

/// A registry that keeps an upload's state in its location, as docker-registry does: each answer
/// has the next one, and requests to another are refused.
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
            edit(move |answer| {
                header(answer, "Location", &format!("/v2/a/blobs/uploads/session-1?_state=a%2F{next}%3D"))
            })
        })
    })
}

/// Every upload is gone when its second chunk comes.
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

/// This fault where the layer's upload ends.
fn finish(fault: fn() -> Fault) -> Script {
    nth(1, "PUT", "/uploads/", fault)
}
