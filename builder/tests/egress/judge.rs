//! What may come of a fault: a right record or a clear error, and never a wrong byte. The judge
//! can say no: see the tests at its end.

use std::collections::BTreeMap;
use std::path::Path;

use carafe_builder::egress::{Failure, Recording};
use carafe_layers::digest::Digest;

use crate::support::Got;

/// All that a recording left behind.
pub struct Traces {
    pub record: Recording,
    pub failures: Vec<Failure>,
    /// The bodies in the store: the name of each, and the digest of what it has.
    pub store: BTreeMap<String, Digest>,
}

impl Traces {
    pub fn store(cache: &Path) -> BTreeMap<String, Digest> {
        let bodies = std::fs::read_dir(cache.join("bodies-v1")).unwrap().flatten();
        let named = bodies.map(|body| {
            let content = std::fs::read(body.path()).unwrap();
            (body.file_name().into_string().unwrap(), Digest::of(&content))
        });
        named.collect()
    }
}

/// How it ended, if it ended as it may.
#[derive(PartialEq, Eq, Debug)]
pub enum Verdict {
    Recorded,
    Failed,
}

/// Judges what a client got for `url`, where the outside has `truth`.
pub fn judge(url: &str, truth: &[u8], got: &Got, traces: &Traces) -> Result<Verdict, String> {
    let recorded = traces.record.entries().find(|(request, _)| request.url.as_str() == url);
    let failure = traces.failures.iter().find(|failure| failure.url == url);
    if let Some((name, _)) = traces.store.iter().find(|(name, digest)| **name != digest.hex()) {
        return Err(format!("the store has a wrong body under {name}"));
    }
    if got.exit != 0 {
        return Err(format!("the client was left with a broken answer (curl: {})", got.exit));
    }
    match (got.status, recorded, failure) {
        (200, Some((_, answer)), None) => {
            if got.body != truth {
                return Err(format!("the client got {} wrong bytes", got.body.len()));
            }
            if answer.body != Digest::of(truth) || answer.size != truth.len() as u64 || answer.status != 200 {
                return Err("the record has another answer".to_owned());
            }
            match traces.store.contains_key(&answer.body.hex()) {
                true => Ok(Verdict::Recorded),
                false => Err("the store does not have the body".to_owned()),
            }
        }
        (502, None, Some(failure)) => {
            let told = format!("carafe failed to fetch {url}: {}", failure.reason);
            match got.text().trim_end() == told && !failure.reason.is_empty() {
                true => Ok(Verdict::Failed),
                false => Err(format!("the client was told `{}`, not `{told}`", got.text())),
            }
        }
        (status, recorded, failure) => Err(format!(
            "the client got {status}, {} recorded, {}",
            if recorded.is_some() { "it is" } else { "it is not" },
            failure.map_or("no failure is told".to_owned(), |failure| format!("told is `{failure}`")),
        )),
    }
}

mod tests {
    use carafe_builder::egress::{Answer, Method, Request};

    use super::*;
    use crate::support::{Act, Standin};

    const URL: &str = "http://host/a";
    const TRUTH: &[u8] = b"the truth";

    fn got(status: u16, body: &[u8]) -> Got {
        Got { status, head: String::new(), body: body.to_vec(), exit: 0 }
    }

    fn traces() -> Traces {
        let request =
            Request { url: URL.parse().unwrap(), method: Method::Get, headers: BTreeMap::new(), body: None };
        let size = TRUTH.len() as u64;
        let answer = Answer { status: 200, headers: BTreeMap::new(), body: Digest::of(TRUTH), size };
        let mut record = Recording::default();
        record.insert(request, answer);
        let store = [(Digest::of(TRUTH).hex(), Digest::of(TRUTH))].into();
        Traces { record, failures: Vec::new(), store }
    }

    fn failed() -> Traces {
        let failure = Failure {
            method: "GET".to_owned(),
            url: URL.to_owned(),
            reason: "it broke off".to_owned(),
            is_recorded: false,
        };
        Traces { record: Recording::default(), failures: vec![failure], store: BTreeMap::new() }
    }

    #[test]
    fn what_may_be_is_let_pass() {
        assert_eq!(judge(URL, TRUTH, &got(200, TRUTH), &traces()), Ok(Verdict::Recorded));
        let told = got(502, b"carafe failed to fetch http://host/a: it broke off\n");
        assert_eq!(judge(URL, TRUTH, &told, &failed()), Ok(Verdict::Failed));
    }

    #[test]
    fn each_way_to_be_wrong_is_found() {
        let wrong_record = |change: fn(&mut Answer)| {
            let mut traces = traces();
            let (request, answer) = traces.record.entries().next().unwrap();
            let (request, mut answer) = (request.clone(), answer.clone());
            change(&mut answer);
            traces.record.insert(request, answer);
            traces
        };
        let damaged = Traces { store: [("00".to_owned(), Digest::of(b""))].into(), ..traces() };
        let empty = Traces { store: BTreeMap::new(), ..traces() };
        let silent = Traces { failures: Vec::new(), ..failed() };
        let both = Traces { failures: failed().failures, ..traces() };
        let broken = Got { exit: 18, ..got(200, TRUTH) };
        for (got, traces) in [
            (got(200, b"the truti"), traces()),
            (got(200, b"the trut"), traces()),
            (got(200, b""), traces()),
            (got(206, TRUTH), traces()),
            (got(200, TRUTH), wrong_record(|answer| answer.body = Digest::of(b"x"))),
            (got(200, TRUTH), wrong_record(|answer| answer.size -= 1)),
            (got(200, TRUTH), wrong_record(|answer| answer.status = 404)),
            (got(200, TRUTH), damaged),
            (got(200, TRUTH), empty),
            (got(200, TRUTH), silent),
            (got(200, TRUTH), both),
            (broken, traces()),
            (got(502, b"carafe failed to fetch http://host/a: it broke off"), traces()),
            (got(502, b"something went wrong"), failed()),
            (got(404, b""), failed()),
        ] {
            assert!(judge(URL, TRUTH, &got, &traces).is_err(), "{} {}", got.status, got.text());
        }
    }

    #[test]
    fn a_proxy_without_care_is_found_out() {
        // A body without an announced end, cut short: to a client by itself it looks whole.
        let standin = Standin::new(|_| vec![Act::Send(b"HTTP/1.1 200 OK\r\n\r\nthe t".to_vec()), Act::Close]);
        let output =
            std::process::Command::new("curl").args(["--silent", &standin.url("/")]).output().unwrap();
        assert!(output.status.success());
        assert!(judge(URL, TRUTH, &got(200, &output.stdout), &traces()).is_err());
    }
}
