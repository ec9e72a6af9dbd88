//! Normalizes Simple API responses (PEP 503, PEP 691), so that they can be replayed without their
//! bodies after the next release.
//!
//! PyPI's response for a project changes with every event there, down to a serial number, while the
//! files that it lists stay. The normalized form contains what clients use, and nothing else. Each
//! file has an upload time, so a later response contains the earlier one: the files up to a cutoff.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header;
use jiff::Timestamp;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::egress::body_store::{BodyStore, BodyStoreError, Spool};
use crate::egress::recording::{Method, RecordedRequest, RecordedResponse};

/// The media type of a Simple API response in JSON (PEP 691).
pub(super) const SIMPLE_API_JSON: &str = "application/vnd.pypi.simple.v1+json";
/// Maximum size of a response that is normalized: pydantic-core's has 7 MB, and grows. The response is
/// held in memory; its parsed form, if it was made for that, takes sixteen times as much.
const MAX_RESPONSE_BYTES: u64 = 16 << 20;
/// The version of the normalized form: 1.1 would require a list of versions.
const API_VERSION: &str = "1.0";

/// Whether a response to `request` may be a Simple API response in JSON.
pub(super) fn is_simple_api(
    request: &RecordedRequest,
    status: u16,
    headers: &BTreeMap<String, String>,
) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE.as_str()).map_or("", String::as_str);
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_plain = !headers.contains_key(header::CONTENT_ENCODING.as_str());
    request.method == Method::Get
        && status == 200
        && is_plain
        && media_type.eq_ignore_ascii_case(SIMPLE_API_JSON)
}

/// The normalized form of a response; `headers` gets the `last-modified` that marks it. With a
/// normalized `recorded` response, files that were uploaded after that date are dropped. A response
/// that cannot be normalized, or was not when it was recorded, is returned unchanged.
pub(super) fn normalize(
    mut spool: Spool,
    headers: &mut BTreeMap<String, String>,
    recorded: Option<&RecordedResponse>,
    bodies: &BodyStore,
) -> Result<Spool, BodyStoreError> {
    let cutoff = recorded.and_then(|response| UploadTime::of_headers(&response.headers));
    let was_not_normalized = recorded.is_some() && cutoff.is_none();
    if was_not_normalized || spool.written() > MAX_RESPONSE_BYTES {
        return Ok(spool);
    }
    let mut text = Vec::new();
    let mut file = spool.file();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(BodyStoreError::Source)?;
    let Some((json, newest)) = normalize_json(&text, cutoff) else {
        return Ok(spool);
    };
    let mut normalized = bodies.spool()?;
    normalized.write(&json)?;
    headers.insert(header::LAST_MODIFIED.as_str().to_owned(), newest.to_header());
    Ok(normalized)
}

/// The normalized form, with the files up to `cutoff`, and the upload time of the newest of them.
/// `None` if no file matches, or one has no upload time.
fn normalize_json(text: &[u8], cutoff: Option<UploadTime>) -> Option<(Vec<u8>, UploadTime)> {
    let mut project: Project = serde_json::from_slice(text).ok()?;
    if !project.meta.api_version.starts_with("1.") {
        return None;
    }
    API_VERSION.clone_into(&mut project.meta.api_version);
    let mut newest = None;
    let mut files = Vec::with_capacity(project.files.len());
    for file in project.files {
        let uploaded = UploadTime::parse(&file.upload_time)?;
        if cutoff.is_none_or(|cutoff| uploaded <= cutoff) {
            newest = newest.max(Some(uploaded));
            files.push(file.normalized());
        }
    }
    project.files = files;
    Some((serde_json::to_vec(&project).ok()?, newest?))
}

/// An upload time, rounded up to seconds since 1970.
///
/// HTTP dates have no fractions of a second. Times are rounded up when recording and when replaying,
/// so the newest file is never later than the header that was made of it. A file that was uploaded
/// later, but within the same second, is in the replay and not in the recording: the digest differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct UploadTime(u64);

impl UploadTime {
    /// The last second of the year 9999, the last one of HTTP dates.
    const MAX_SECONDS: u64 = 253_402_300_799;

    /// Parses a file's `upload-time` (RFC 3339).
    fn parse(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        let second = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
        u64::try_from(second).ok().filter(|second| *second <= Self::MAX_SECONDS).map(Self)
    }

    /// The `last-modified` of a normalized response.
    fn of_headers(headers: &BTreeMap<String, String>) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(header::LAST_MODIFIED.as_str())?).ok()?;
        Some(Self(date.duration_since(UNIX_EPOCH).ok()?.as_secs()))
    }

    fn to_header(self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0))
    }
}

/// The keys that clients use (PEP 691, 700, 714). A response with a duplicate key, or a value of
/// another type, is not normalized.
#[derive(Deserialize, Serialize)]
struct Project {
    meta: Meta,
    name: String,
    files: Vec<File>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    api_version: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    filename: String,
    url: String,
    hashes: Hashes,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires_python: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    upload_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    yanked: Option<Yanked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_metadata: Option<Metadata>,
    #[serde(skip_serializing)]
    dist_info_metadata: Option<Metadata>,
    #[serde(skip_serializing)]
    data_dist_info_metadata: Option<Metadata>,
}

impl File {
    /// Moves the value of the two older names of `core-metadata`, which an index may drop at any time,
    /// to the current name. Clients use the older ones only if the current one is missing.
    fn normalized(mut self) -> Self {
        let older = self.dist_info_metadata.take().or(self.data_dist_info_metadata.take());
        self.core_metadata = self.core_metadata.or(older);
        self
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Metadata {
    Flag(bool),
    Hashes(Hashes),
}

/// Digests by algorithm, without duplicates.
#[derive(Serialize)]
struct Hashes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HashesVisitor;
        impl<'de> Visitor<'de> for HashesVisitor {
            type Value = Hashes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("digests by algorithm")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hashes, A::Error> {
                let mut hashes = BTreeMap::new();
                while let Some((name, digest)) = map.next_entry()? {
                    if hashes.insert(name, digest).is_some() {
                        return Err(A::Error::custom("duplicate algorithm"));
                    }
                }
                Ok(Hashes(hashes))
            }
        }
        deserializer.deserialize_map(HashesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyPI's form, shortened: two releases, a yanked file, older names of keys, and keys that clients
    /// do not use.
    const LAMP: &str = r#"{
        "alternate-locations": [], "project-status": {"status": "active"},
        "files": [
            {"core-metadata": {"sha256": "0a"}, "data-dist-info-metadata": {"sha256": "0a"},
             "filename": "lamp-1.0-py3-none-any.whl", "hashes": {"sha256": "1a", "blake2b": "1b"},
             "provenance": "https://pypi.org/integrity/lamp/v1.0/provenance",
             "requires-python": ">=3.8, !=3.9.0", "size": 1000,
             "upload-time": "2024-05-01T10:00:00.462110Z",
             "url": "https://files.example/1a/lamp-1.0-py3-none-any.whl", "yanked": false},
            {"core-metadata": false, "filename": "lamp-1.0.tar.gz", "gpg-sig": false,
             "hashes": {"sha256": "2a"}, "requires-python": null, "size": 2000,
             "upload-time": "2024-05-01T10:00:02Z",
             "url": "../../packages/lamp-1.0.tar.gz", "yanked": "broke \"caf\u00e9\""},
            {"data-dist-info-metadata": {"sha256": "0c"}, "filename": "lamp-1.1-py3-none-any.whl",
             "hashes": {}, "url": "https://files.example/3a/lamp-1.1-py3-none-any.whl",
             "upload-time": "2024-06-01T00:00:00.000001Z"}
        ],
        "meta": {"_last-serial": 40411242, "api-version": "1.4"}, "name": "lamp",
        "versions": ["1.0", "1.1"]
    }"#;

    fn normalized(json: &str) -> Option<(String, String)> {
        normalized_until(json, None)
    }

    fn normalized_until(json: &str, cutoff: Option<&str>) -> Option<(String, String)> {
        let cutoff = cutoff.map(|date| [("last-modified".to_owned(), date.to_owned())].into());
        let cutoff = cutoff.map(|headers| UploadTime::of_headers(&headers).unwrap());
        let (json, newest) = normalize_json(json.as_bytes(), cutoff)?;
        Some((String::from_utf8(json).unwrap(), newest.to_header()))
    }

    #[test]
    fn keeps_what_clients_use_and_the_date_of_the_newest_file() {
        let (json, newest) = normalized(LAMP).unwrap();
        insta::assert_snapshot!(json.replace("},{", "},\n{"));
        assert_eq!(newest, "Sat, 01 Jun 2024 00:00:01 GMT");
    }

    #[test]
    fn normalization_is_idempotent() {
        let (json, newest) = normalized(LAMP).unwrap();
        assert_eq!(normalized(&json), Some((json.clone(), newest.clone())));
        assert_eq!(normalized_until(&json, Some(&newest)), Some((json, newest)));
    }

    #[test]
    fn a_later_response_contains_the_earlier_one() {
        let then = normalized(LAMP).unwrap();
        let added = r#"{"filename": "lamp-0.9.1.zip", "url": "u", "hashes": {}, "new-key": [1],
            "upload-time": "2024-06-01T00:00:01.000001Z"}, {"core"#;
        let later = LAMP.replacen("{\"core", added, 1).replace("40411242", "\"40411243\"");
        assert_ne!(normalized(&later).unwrap(), then);
        assert_eq!(normalized_until(&later, Some(&then.1)).unwrap(), then);
        // Later than all files of the recording, but within the same second.
        let unlucky = later.replace("00:00:01.000001Z", "00:00:00.5Z");
        assert_ne!(normalized_until(&unlucky, Some(&then.1)).unwrap(), then);
    }

    fn project(serial: u64, times: &[u64]) -> String {
        let file = |micros: &u64| {
            let time = Timestamp::from_microsecond(i64::try_from(*micros).unwrap()).unwrap();
            format!(r#"{{"filename":"{micros}","url":"u","hashes":{{}},"upload-time":"{time}"}}"#)
        };
        let files: Vec<_> = times.iter().map(file).collect();
        let meta = format!(r#"{{"api-version":"1.{serial}","_last-serial":{serial}}}"#);
        format!(r#"{{"name":"lamp","meta":{meta},"files":[{}]}}"#, files.join(","))
    }

    proptest::proptest! {
        #[test]
        fn damaged_json_is_kept_or_has_a_stable_normalized_form(
            edits in proptest::collection::vec((0..LAMP.len(), proptest::num::u8::ANY), 0..4),
        ) {
            let mut damaged = LAMP.as_bytes().to_vec();
            edits.into_iter().for_each(|(at, byte)| damaged[at] = byte);
            if let Some((json, newest)) = normalize_json(&damaged, None) {
                let again = normalize_json(&json, Some(newest));
                proptest::prop_assert_eq!(again, Some((json, newest)));
            }
        }

        #[test]
        fn files_of_later_seconds_are_dropped_in_any_order(
            times in proptest::collection::vec(0..4_000_000_000_000_000_u64, 1..20),
            added in proptest::collection::vec((1_000_000..4_000_000_000_000_000_u64, 0..20_usize), 0..20),
        ) {
            let then = normalized(&project(1, &times)).unwrap();
            let newest = *times.iter().max().unwrap();
            let mut later = times.clone();
            for (after, at) in added {
                later.insert(at.min(later.len()), newest + after);
            }
            proptest::prop_assert_eq!(normalized_until(&project(2, &later), Some(&then.1)).unwrap(), then);
        }
    }

    #[test]
    fn the_cutoff_has_a_resolution_of_seconds() {
        let files =
            |date| normalized_until(LAMP, Some(date)).map(|(json, _)| json.matches("filename").count());
        assert_eq!(files("Wed, 01 May 2024 10:00:00 GMT"), None);
        assert_eq!(files("Wed, 01 May 2024 10:00:01 GMT"), Some(1));
        assert_eq!(files("Wed, 01 May 2024 10:00:02 GMT"), Some(2));
        assert_eq!(files("Sat, 01 Jun 2024 00:00:00 GMT"), Some(2));
        assert_eq!(files("Sat, 01 Jun 2024 00:00:01 GMT"), Some(3));
    }

    #[test]
    fn keeps_a_response_that_is_not_completely_understood() {
        let edits = [
            ("\"upload-time\": \"2024-05-01T10:00:02Z\",", ""),
            ("\"2024-05-01T10:00:02Z\"", "null"),
            ("2024-05-01T10:00:02Z", "2024-05-01T10:00:02"),
            ("2024-05-01T10:00:02Z", "yesterday"),
            ("2024-05-01T10:00:02Z", "1969-12-31T23:59:58Z"),
            ("2024-05-01T10:00:02Z", "9999-12-31T23:59:59.5Z"),
            ("\"api-version\": \"1.4\"", "\"api-version\": \"2.0\""),
            ("\"name\": \"lamp\",", ""),
            ("\"name\": \"lamp\",", "\"name\": \"lamp\", \"name\": \"lamp\","),
            ("\"size\": 2000", "\"size\": -1"),
            ("\"size\": 2000", "\"size\": 1, \"size\": 2000"),
            ("{\"sha256\": \"2a\"}", "{\"sha256\": \"2a\", \"sha256\": \"2b\"}"),
            ("{\"sha256\": \"0a\"}", "{\"sha256\": \"0a\", \"sha256\": \"0b\"}"),
            ("{\"sha256\": \"2a\"}", "{\"sha256\": 2}"),
            ("\"yanked\": false", "\"yanked\": 0"),
            ("\"url\": \"../", "\"url\": \"\\ud800"),
            ("\"lamp\"", "\"lamp"),
        ];
        for (from, to) in edits {
            let edited = LAMP.replacen(from, to, 1);
            assert_ne!(edited, LAMP);
            assert_eq!(normalized(&edited), None, "{to}");
        }
        let empty = r#"{"files":[],"meta":{"api-version":"1.1"},"name":"lamp"}"#;
        let deep = "[".repeat(1 << 20);
        let digest = LAMP.replace("\"1a\"", &deep);
        let metadata = LAMP.replace("{\"sha256\": \"0c\"}", &deep);
        let after = format!("{LAMP}{{}}");
        for other in [empty, &deep, &digest, &metadata, &after, "", "<html>", "null"] {
            assert_eq!(normalized(other), None);
        }
        assert_eq!(normalize_json(b"\"\xff\"", None), None);
    }

    #[test]
    fn ignores_the_content_of_unused_keys() {
        let (deep, end) = ("[".repeat(100_000), "]".repeat(100_000));
        let odd = LAMP.replace("[\"1.0\", \"1.1\"]", &format!("{deep}{end}"));
        assert_eq!(normalized(&odd), normalized(LAMP));
    }

    #[test]
    fn keeps_a_response_that_is_too_large() {
        let directory = tempfile::tempdir().unwrap();
        let bodies = BodyStore::of(&crate::cache::Cache::at(directory.path()).unwrap()).unwrap();
        for (blanks, is_normalized) in
            [(MAX_RESPONSE_BYTES - LAMP.len() as u64, true), (MAX_RESPONSE_BYTES, false)]
        {
            let mut spool = bodies.spool().unwrap();
            spool.write(LAMP.as_bytes()).unwrap();
            spool.write(&vec![b' '; blanks as usize]).unwrap();
            let (mut headers, size) = (BTreeMap::new(), spool.written());
            let normalized = normalize(spool, &mut headers, None, &bodies).unwrap();
            assert_eq!((normalized.written() < size, headers.len() == 1), (is_normalized, is_normalized));
        }
    }

    #[test]
    fn only_an_unencoded_get_of_the_json_type_is_normalized() {
        let request = |method| RecordedRequest {
            url: "https://pypi.org/simple/lamp/".parse().unwrap(),
            method,
            headers: BTreeMap::new(),
            body: None,
        };
        let is = |method, status, headers: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            is_simple_api(&request(method), status, &headers.iter().map(pair).collect())
        };
        let json = ("content-type", SIMPLE_API_JSON);
        assert!(is(Method::Get, 200, &[json]));
        assert!(is(
            Method::Get,
            200,
            &[("content-type", "Application/vnd.PyPI.simple.v1+json; charset=utf-8")]
        ));
        assert!(!is(Method::Get, 200, &[json, ("content-encoding", "gzip")]));
        assert!(!is(Method::Post, 200, &[json]) && !is(Method::Get, 404, &[json]));
        assert!(!is(Method::Get, 200, &[("content-type", "application/json")]) && !is(Method::Get, 200, &[]));
    }
}
