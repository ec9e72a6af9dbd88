//! The two permitted outcomes of a fault: a correct recording, or a clear error. The tests at the end
//! show that [`judge`] detects every other outcome.

use std::collections::BTreeMap;
use std::path::Path;

use carafe_builder::egress::{FailedRequest, Recording};
use carafe_layers::digest::Digest;

use crate::support::CurlResponse;

/// What a recording egress proxy leaves.
pub struct Outcome {
    pub recording: Recording,
    pub failures: Vec<FailedRequest>,
    /// The bodies in the store: the name of each file, and the digest of its content.
    pub store: BTreeMap<String, Digest>,
}

impl Outcome {
    pub fn store(cache: &Path) -> BTreeMap<String, Digest> {
        let bodies = std::fs::read_dir(cache.join("bodies-v1")).unwrap().flatten();
        let named = bodies.map(|body| {
            let content = std::fs::read(body.path()).unwrap();
            (body.file_name().into_string().unwrap(), Digest::of(&content))
        });
        named.collect()
    }
}

/// A permitted outcome.
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict {
    Recorded,
    Failed,
}

/// Checks what a client received for `url`, where the correct body is `truth`.
pub fn judge(url: &str, truth: &[u8], got: &CurlResponse, outcome: &Outcome) -> Result<Verdict, String> {
    let recorded = outcome.recording.entries().find(|(request, _)| request.url.as_str() == url);
    let failure = outcome.failures.iter().find(|failure| failure.url == url);
    if let Some((name, _)) = outcome.store.iter().find(|(name, digest)| **name != digest.hex()) {
        return Err(format!("the store has a wrong body under {name}"));
    }
    if got.exit != 0 {
        return Err(format!("the client received a broken response (curl: {})", got.exit));
    }
    match (got.status, recorded, failure) {
        (200, Some((_, response)), None) => {
            if got.body != truth {
                return Err(format!("the client got {} wrong bytes", got.body.len()));
            }
            if response.body != Digest::of(truth)
                || response.size != truth.len() as u64
                || response.status != 200
            {
                return Err("the recording has a different response".to_owned());
            }
            match outcome.store.contains_key(&response.body.hex()) {
                true => Ok(Verdict::Recorded),
                false => Err("the store does not have the body".to_owned()),
            }
        }
        (502, None, Some(failure)) => {
            let expected = format!("carafe failed to fetch {url}: {}", failure.reason);
            match got.text().trim_end() == expected && !failure.reason.is_empty() {
                true => Ok(Verdict::Failed),
                false => Err(format!("the client received `{}`, not `{expected}`", got.text())),
            }
        }
        (status, recorded, failure) => Err(format!(
            "the client got {status}, {} recorded, {}",
            if recorded.is_some() { "it is" } else { "it is not" },
            failure.map_or("no failure is reported".to_owned(), |failure| format!("`{failure}` is reported")),
        )),
    }
}

mod tests {
    use carafe_builder::egress::{Method, RecordedRequest, RecordedResponse};

    use super::*;
    use crate::support::{Action, ScriptedServer};

    const URL: &str = "http://host/a";
    const TRUTH: &[u8] = b"the truth";

    fn got(status: u16, body: &[u8]) -> CurlResponse {
        CurlResponse { status, head: String::new(), body: body.to_vec(), exit: 0 }
    }

    fn outcome() -> Outcome {
        let request = RecordedRequest {
            url: URL.parse().unwrap(),
            method: Method::Get,
            headers: BTreeMap::new(),
            body: None,
        };
        let size = TRUTH.len() as u64;
        let response =
            RecordedResponse { status: 200, headers: BTreeMap::new(), body: Digest::of(TRUTH), size };
        let mut recording = Recording::default();
        recording.insert(request, response);
        let store = [(Digest::of(TRUTH).hex(), Digest::of(TRUTH))].into();
        Outcome { recording, failures: Vec::new(), store }
    }

    fn failed() -> Outcome {
        let failure = FailedRequest {
            method: "GET".to_owned(),
            url: URL.to_owned(),
            reason: "the body was truncated".to_owned(),
            is_recorded: false,
        };
        Outcome { recording: Recording::default(), failures: vec![failure], store: BTreeMap::new() }
    }

    #[test]
    fn accepts_both_permitted_outcomes() {
        assert_eq!(judge(URL, TRUTH, &got(200, TRUTH), &outcome()), Ok(Verdict::Recorded));
        let failure = got(502, b"carafe failed to fetch http://host/a: the body was truncated\n");
        assert_eq!(judge(URL, TRUTH, &failure, &failed()), Ok(Verdict::Failed));
    }

    #[test]
    fn rejects_every_other_outcome() {
        let wrong_recording = |change: fn(&mut RecordedResponse)| {
            let mut outcome = outcome();
            let (request, response) = outcome.recording.entries().next().unwrap();
            let (request, mut response) = (request.clone(), response.clone());
            change(&mut response);
            outcome.recording.insert(request, response);
            outcome
        };
        let damaged = Outcome { store: [("00".to_owned(), Digest::of(b""))].into(), ..outcome() };
        let empty = Outcome { store: BTreeMap::new(), ..outcome() };
        let unreported = Outcome { failures: Vec::new(), ..failed() };
        let both = Outcome { failures: failed().failures, ..outcome() };
        let broken = CurlResponse { exit: 18, ..got(200, TRUTH) };
        for (got, outcome) in [
            (got(200, b"the truti"), outcome()),
            (got(200, b"the trut"), outcome()),
            (got(200, b""), outcome()),
            (got(206, TRUTH), outcome()),
            (got(200, TRUTH), wrong_recording(|response| response.body = Digest::of(b"x"))),
            (got(200, TRUTH), wrong_recording(|response| response.size -= 1)),
            (got(200, TRUTH), wrong_recording(|response| response.status = 404)),
            (got(200, TRUTH), damaged),
            (got(200, TRUTH), empty),
            (got(200, TRUTH), unreported),
            (got(200, TRUTH), both),
            (broken, outcome()),
            (got(502, b"carafe failed to fetch http://host/a: the body was truncated"), outcome()),
            (got(502, b"something went wrong"), failed()),
            (got(404, b""), failed()),
        ] {
            assert!(judge(URL, TRUTH, &got, &outcome).is_err(), "{} {}", got.status, got.text());
        }
    }

    #[test]
    fn rejects_a_proxy_that_forwards_truncated_bodies() {
        // A truncated body without a marked end: curl alone does not detect it.
        let server = ScriptedServer::new(|_| {
            vec![Action::Send(b"HTTP/1.1 200 OK\r\n\r\nthe t".to_vec()), Action::Close]
        });
        let output =
            std::process::Command::new("curl").args(["--silent", &server.url("/")]).output().unwrap();
        assert!(output.status.success());
        assert!(judge(URL, TRUTH, &got(200, &output.stdout), &outcome()).is_err());
    }
}
