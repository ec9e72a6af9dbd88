//! Answers that say 200 and are an error page all the same.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::recording::{Answer, Request};

/// File names that promise an archive, and how its bytes begin. An empty zip has another mark.
const MAGICS: [(&str, &[u8]); 7] = [
    (".whl", b"PK"),
    (".zip", b"PK"),
    (".tgz", &[0x1f, 0x8b]),
    (".tar.gz", &[0x1f, 0x8b]),
    (".tar.bz2", b"BZh"),
    (".tar.xz", &[0xfd, b'7', b'z', b'X', b'Z']),
    (".tar.zst", &[0x28, 0xb5, 0x2f, 0xfd]),
];

/// Why a success cannot be what was asked for, if it cannot. `body` is its body.
pub(super) fn objection(request: &Request, answer: &Answer, body: &File) -> Option<String> {
    if answer.status != 200 {
        return None;
    }
    let kind = answer.headers.get("content-type").map_or("", String::as_str);
    let is_page = kind.starts_with("text/html");
    // Under a content coding, the first bytes are not the archive's.
    let is_plain = !answer.headers.contains_key("content-encoding");
    let name = request.url.file_name().to_ascii_lowercase();
    let promised = MAGICS.iter().find(|(end, _)| name.ends_with(end)).filter(|_| is_plain);
    if let Some((end, magic)) = promised {
        let mut start = vec![0; magic.len()];
        if body.read_exact_at(&mut start, 0).is_err() || start != *magic {
            return Some(format!("it answers 200, but what it sends is no {end} file{}", of_kind(kind)));
        }
    }
    let accept = request.headers.get("accept").map_or("*/*", String::as_str);
    let is_wanted = ["*/*", "text/html", "text/*"].iter().any(|wanted| accept.contains(wanted));
    let is_git = request.url.as_url().path().ends_with("/info/refs")
        && request.url.as_url().query().is_some_and(|query| query.starts_with("service=git-"));
    (is_page && (!is_wanted || is_git)).then(|| {
        "it answers 200, but with a page for people (text/html), not with what was asked for".to_owned()
    })
}

fn of_kind(kind: &str) -> String {
    let kind: String = kind.chars().filter(|c| !c.is_control()).take(60).collect();
    if kind.is_empty() { kind } else { format!(" ({kind})") }
}
