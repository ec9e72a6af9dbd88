//! Detects error pages that a server sends with status 200.

use std::fs::File;
use std::os::unix::fs::FileExt;

use carafe_layers::text::{escape, truncate};

use crate::egress::recording::{RecordedRequest, RecordedResponse};

/// Extensions of archives and the first bytes of such files. An empty zip file starts differently.
const ARCHIVE_MAGICS: [(&str, &[u8]); 7] = [
    (".whl", b"PK"),
    (".zip", b"PK"),
    (".tgz", &[0x1f, 0x8b]),
    (".tar.gz", &[0x1f, 0x8b]),
    (".tar.bz2", b"BZh"),
    (".tar.xz", &[0xfd, b'7', b'z', b'X', b'Z']),
    (".tar.zst", &[0x28, 0xb5, 0x2f, 0xfd]),
];

/// Why a response with status 200 cannot be what was requested; `None` if it can. `body` is its
/// body.
pub(super) fn objection(
    request: &RecordedRequest,
    response: &RecordedResponse,
    body: &File,
) -> Option<String> {
    if response.status != 200 {
        return None;
    }
    let content_type = response.headers.get("content-type").map_or("", String::as_str);
    let is_html = content_type.starts_with("text/html");
    // With a content coding, the body does not start with the archive's own bytes.
    let is_plain = !response.headers.contains_key("content-encoding");
    let name = request.url.file_name().to_ascii_lowercase();
    let archive = ARCHIVE_MAGICS.iter().find(|(extension, _)| name.ends_with(extension)).filter(|_| is_plain);
    if let Some((extension, magic)) = archive {
        let mut start = vec![0; magic.len()];
        if body.read_exact_at(&mut start, 0).is_err() || start != *magic {
            return Some(format!("expected a {extension} file, got {} (HTTP 200)", describe(content_type)));
        }
    }
    let accept = request.headers.get("accept").map_or("*/*", String::as_str);
    let accepts_html = ["*/*", "text/html", "text/*"].iter().any(|range| accept.contains(range));
    let is_git = request.url.as_url().path().ends_with("/info/refs")
        && request.url.as_url().query().is_some_and(|query| query.starts_with("service=git-"));
    match is_html {
        true if is_git => Some("expected a git repository, got an HTML page (HTTP 200)".to_owned()),
        true if !accepts_html => {
            Some("expected the requested content type, got an HTML page (HTTP 200)".to_owned())
        }
        _ => None,
    }
}

/// A content type for a message.
fn describe(content_type: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 60;
    let escaped = escape(content_type);
    let shown = truncate(&escaped, MAX_SHOWN_CHARS);
    match &*shown {
        "" => "data of no type".to_owned(),
        html if html.starts_with("text/html") => "an HTML page".to_owned(),
        other => format!("other data ({other})"),
    }
}
