//! The pages of Python's package indexes, in a form that can be had again after the next release.
//!
//! PyPI's page of a project changes with every event there, down to a serial number, while the
//! files that it names stay. What clients act upon is written anew here, and nothing else; and as
//! every file says when it was uploaded, a later page has the earlier one in it.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header;
use jiff::Timestamp;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::body_store::{BodyStore, BodyStoreError, Spool};
use super::super::recording::{Answer, Method, Request};

/// The type of a project's page in JSON (PEP 691).
pub(super) const PAGE: &str = "application/vnd.pypi.simple.v1+json";
/// Bytes of the largest page that is written anew: pydantic-core's has 7 MB, and grows. Held in memory
/// meanwhile, and taken apart, if it was made for that, some sixteen times as much.
const MAX_PAGE_BYTES: u64 = 16 << 20;
/// The version of the form without the list of versions, which 1.1 asks for.
const API_VERSION: &str = "1.0";

/// Whether an answer to `request` may be such a page.
pub(super) fn is_one(request: &Request, status: u16, headers: &BTreeMap<String, String>) -> bool {
    let kind = headers.get(header::CONTENT_TYPE.as_str()).map_or("", String::as_str);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_plain = !headers.contains_key(header::CONTENT_ENCODING.as_str());
    request.method == Method::Get && status == 200 && is_plain && kind.eq_ignore_ascii_case(PAGE)
}

/// The page in its lasting form, which `last-modified` in `headers` marks. One that was `recorded`
/// so is cut to what was there then. What is no such page, or was recorded as it came, stays.
pub(super) fn settle(
    mut spool: Spool,
    headers: &mut BTreeMap<String, String>,
    recorded: Option<&Answer>,
    bodies: &BodyStore,
) -> Result<Spool, BodyStoreError> {
    let cut = recorded.and_then(|answer| AsOf::marked(&answer.headers));
    let was_kept_as_it_came = recorded.is_some() && cut.is_none();
    if was_kept_as_it_came || spool.written() > MAX_PAGE_BYTES {
        return Ok(spool);
    }
    let mut text = Vec::new();
    let mut file = spool.file();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).map_err(BodyStoreError::Source)?;
    let Some((page, as_of)) = lasting(&text, cut) else {
        return Ok(spool);
    };
    let mut settled = bodies.spool()?;
    settled.write(&page)?;
    headers.insert(header::LAST_MODIFIED.as_str().to_owned(), as_of.to_header());
    Ok(settled)
}

/// The lasting form of a page, of the files that were there at `cut`, and when the newest of them
/// came. Nothing if there is none, or one does not say when it came.
fn lasting(text: &[u8], cut: Option<AsOf>) -> Option<(Vec<u8>, AsOf)> {
    let mut page: SimplePage = serde_json::from_slice(text).ok()?;
    if !page.meta.api_version.starts_with("1.") {
        return None;
    }
    API_VERSION.clone_into(&mut page.meta.api_version);
    let mut newest = None;
    let mut files = Vec::with_capacity(page.files.len());
    for file in page.files {
        let uploaded = AsOf::uploaded(&file.upload_time)?;
        if cut.is_none_or(|cut| uploaded <= cut) {
            newest = newest.max(Some(uploaded));
            files.push(file.settled());
        }
    }
    page.files = files;
    Some((serde_json::to_vec(&page).ok()?, newest?))
}

/// As of when a page is: the whole seconds since 1970 after which nothing was added to it.
///
/// A header has no fractions of a second. A file's time is rounded up, when recording and when
/// replaying: so the newest file is never later than the header that was made of it. A file that
/// came later within that same second is in the replay and was not in the record; the digest tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct AsOf(u64);

impl AsOf {
    /// The last second that a header can say: 9999 is its last year.
    const LAST: u64 = 253_402_300_799;

    /// Of a file's upload-time (RFC 3339).
    fn uploaded(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        let second = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
        u64::try_from(second).ok().filter(|second| *second <= Self::LAST).map(Self)
    }

    /// What an answer says, if it is marked.
    fn marked(headers: &BTreeMap<String, String>) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(header::LAST_MODIFIED.as_str())?).ok()?;
        Some(Self(date.duration_since(UNIX_EPOCH).ok()?.as_secs()))
    }

    fn to_header(self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0))
    }
}

/// What of a project's page decides what a client does (PEP 691, 700, 714). A key that is there
/// twice, or has another kind of value, makes it no page that is known.
#[derive(Deserialize, Serialize)]
struct SimplePage {
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
    /// With one name for what has had three. An index may drop the older ones at any time; clients
    /// read them where there is no other.
    fn settled(mut self) -> Self {
        let older = self.dist_info_metadata.take().or(self.data_dist_info_metadata.take());
        self.core_metadata = self.core_metadata.or(older);
        self
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Yanked {
    Is(bool),
    Because(String),
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Metadata {
    Is(bool),
    With(Hashes),
}

/// Digests by the names of their algorithms, each once.
#[derive(Serialize)]
struct Hashes(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Hashes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("digests by algorithm")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hashes, A::Error> {
                let mut hashes = BTreeMap::new();
                while let Some((name, digest)) = map.next_entry()? {
                    if hashes.insert(name, digest).is_some() {
                        return Err(A::Error::custom("an algorithm is there twice"));
                    }
                }
                Ok(Hashes(hashes))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PyPI writes them, shortened: two releases, one withdrawn file, two that clients do not
    /// read the same way, and what has no influence on any.
    const PAGE_OF_LAMP: &str = r#"{
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

    fn text(page: &str) -> Option<(String, String)> {
        at(page, None)
    }

    fn at(page: &str, cut: Option<&str>) -> Option<(String, String)> {
        let cut = cut.map(|date| [("last-modified".to_owned(), date.to_owned())].into());
        let (page, as_of) = lasting(page.as_bytes(), cut.map(|cut| AsOf::marked(&cut).unwrap()))?;
        Some((String::from_utf8(page).unwrap(), as_of.to_header()))
    }

    #[test]
    fn keeps_what_clients_use_and_the_date_of_the_newest_file() {
        let (page, as_of) = text(PAGE_OF_LAMP).unwrap();
        insta::assert_snapshot!(page.replace("},{", "},\n{"));
        assert_eq!(as_of, "Sat, 01 Jun 2024 00:00:01 GMT");
    }

    #[test]
    fn written_anew_it_stays_the_same() {
        let (page, as_of) = text(PAGE_OF_LAMP).unwrap();
        assert_eq!(text(&page), Some((page.clone(), as_of.clone())));
        assert_eq!(at(&page, Some(&as_of)), Some((page, as_of)));
    }

    #[test]
    fn a_later_page_has_the_earlier_one_in_it() {
        let then = text(PAGE_OF_LAMP).unwrap();
        let added = r#"{"filename": "lamp-0.9.1.zip", "url": "u", "hashes": {}, "new-key": [1],
            "upload-time": "2024-06-01T00:00:01.000001Z"}, {"core"#;
        let later = PAGE_OF_LAMP.replacen("{\"core", added, 1).replace("40411242", "\"40411243\"");
        assert_ne!(text(&later).unwrap(), then);
        assert_eq!(at(&later, Some(&then.1)).unwrap(), then);
        // Of the same second, though later than all that were there: the digest tells.
        let unlucky = later.replace("00:00:01.000001Z", "00:00:00.5Z");
        assert_ne!(at(&unlucky, Some(&then.1)).unwrap(), then);
    }

    fn page_of(serial: u64, times: &[u64]) -> String {
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
        fn whatever_is_damaged_stays_as_it_is_or_has_a_form_that_lasts(
            edits in proptest::collection::vec((0..PAGE_OF_LAMP.len(), proptest::num::u8::ANY), 0..4),
        ) {
            let mut damaged = PAGE_OF_LAMP.as_bytes().to_vec();
            edits.into_iter().for_each(|(at, byte)| damaged[at] = byte);
            if let Some((page, as_of)) = lasting(&damaged, None) {
                proptest::prop_assert_eq!(lasting(&page, Some(as_of)), Some((page, as_of)));
            }
        }

        #[test]
        fn whatever_is_added_later_and_wherever_is_cut_off(
            times in proptest::collection::vec(0..4_000_000_000_000_000_u64, 1..20),
            added in proptest::collection::vec((1_000_000..4_000_000_000_000_000_u64, 0..20_usize), 0..20),
        ) {
            let then = text(&page_of(1, &times)).unwrap();
            let newest = *times.iter().max().unwrap();
            let mut later = times.clone();
            for (after, at) in added {
                later.insert(at.min(later.len()), newest + after);
            }
            proptest::prop_assert_eq!(at(&page_of(2, &later), Some(&then.1)).unwrap(), then);
        }
    }

    #[test]
    fn a_cut_falls_between_seconds() {
        let files = |cut| at(PAGE_OF_LAMP, Some(cut)).map(|(page, _)| page.matches("filename").count());
        assert_eq!(files("Wed, 01 May 2024 10:00:00 GMT"), None);
        assert_eq!(files("Wed, 01 May 2024 10:00:01 GMT"), Some(1));
        assert_eq!(files("Wed, 01 May 2024 10:00:02 GMT"), Some(2));
        assert_eq!(files("Sat, 01 Jun 2024 00:00:00 GMT"), Some(2));
        assert_eq!(files("Sat, 01 Jun 2024 00:00:01 GMT"), Some(3));
    }

    #[test]
    fn what_is_not_known_for_sure_stays_as_it_is() {
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
            let edited = PAGE_OF_LAMP.replacen(from, to, 1);
            assert_ne!(edited, PAGE_OF_LAMP);
            assert_eq!(text(&edited), None, "{to}");
        }
        let empty = r#"{"files":[],"meta":{"api-version":"1.1"},"name":"lamp"}"#;
        let deep = "[".repeat(1 << 20);
        let digest = PAGE_OF_LAMP.replace("\"1a\"", &deep);
        let metadata = PAGE_OF_LAMP.replace("{\"sha256\": \"0c\"}", &deep);
        let after = format!("{PAGE_OF_LAMP}{{}}");
        for other in [empty, &deep, &digest, &metadata, &after, "", "<html>", "null"] {
            assert_eq!(text(other), None);
        }
        assert_eq!(lasting(b"\"\xff\"", None), None);
    }

    #[test]
    fn what_nobody_reads_may_be_anything() {
        let (deep, end) = ("[".repeat(100_000), "]".repeat(100_000));
        let odd = PAGE_OF_LAMP.replace("[\"1.0\", \"1.1\"]", &format!("{deep}{end}"));
        assert_eq!(text(&odd), text(PAGE_OF_LAMP));
    }

    #[test]
    fn a_page_that_is_too_large_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let bodies = BodyStore::of(&crate::cache::Cache::at(directory.path()).unwrap()).unwrap();
        for (blanks, is_settled) in
            [(MAX_PAGE_BYTES - PAGE_OF_LAMP.len() as u64, true), (MAX_PAGE_BYTES, false)]
        {
            let mut spool = bodies.spool().unwrap();
            spool.write(PAGE_OF_LAMP.as_bytes()).unwrap();
            spool.write(&vec![b' '; blanks as usize]).unwrap();
            let (mut headers, size) = (BTreeMap::new(), spool.written());
            let settled = settle(spool, &mut headers, None, &bodies).unwrap();
            assert_eq!((settled.written() < size, headers.len() == 1), (is_settled, is_settled));
        }
    }

    #[test]
    fn only_a_plain_answer_of_its_own_kind_is_a_page() {
        let request = |method| Request {
            url: "https://pypi.org/simple/lamp/".parse().unwrap(),
            method,
            headers: BTreeMap::new(),
            body: None,
        };
        let is = |method, status, headers: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            is_one(&request(method), status, &headers.iter().map(pair).collect())
        };
        let kind = ("content-type", PAGE);
        assert!(is(Method::Get, 200, &[kind]));
        assert!(is(
            Method::Get,
            200,
            &[("content-type", "Application/vnd.PyPI.simple.v1+json; charset=utf-8")]
        ));
        assert!(!is(Method::Get, 200, &[kind, ("content-encoding", "gzip")]));
        assert!(!is(Method::Post, 200, &[kind]) && !is(Method::Get, 404, &[kind]));
        assert!(!is(Method::Get, 200, &[("content-type", "application/json")]) && !is(Method::Get, 200, &[]));
    }
}
