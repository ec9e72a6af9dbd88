//! Reading the text of specs.

use std::io;
use std::path::Path;

use super::error::{Origin, SpecError};
use super::quantity::format_bytes;

/// Maximum size of a spec or an apps.json, in bytes. A larger one is rejected before it is parsed.
pub const MAX_SPEC_BYTES: u64 = 1 << 20;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads the file at `path`, of at most [`MAX_SPEC_BYTES`].
pub(super) fn read_text(path: &Path) -> Result<String, SpecError> {
    let origin = Origin::document(&path.display().to_string(), "");
    let fail = |error: io::Error| {
        origin.error(format!("failed to read the file: {error}"), "check the path and its permissions")
    };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_SPEC_BYTES {
        let message = format!("the file has {}, the maximum is 1 MiB", format_bytes(size));
        return Err(origin.error(message, "check that the path is the one of the spec or apps.json"));
    }
    decode(std::fs::read(path).map_err(fail)?, &origin)
}

/// Decodes UTF-8, with or without a byte order mark.
pub(super) fn decode(bytes: Vec<u8>, origin: &Origin) -> Result<String, SpecError> {
    let encoding = match &bytes[..] {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ => "not UTF-8",
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| origin.error(format!("the text is {encoding}"), "save it as UTF-8"))?;
    Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, String> {
        decode(bytes.to_vec(), &Origin::document("apps.json", "")).map_err(|error| error.to_string())
    }

    #[test]
    fn accepts_utf8_with_and_without_a_byte_order_mark() {
        assert_eq!(decoded("é".as_bytes()).unwrap(), "é");
        assert_eq!(decoded("\u{feff}[]".as_bytes()).unwrap(), "[]");
        assert_eq!(decoded(b"").unwrap(), "");
    }

    #[test]
    fn names_the_encoding_of_other_text() {
        assert_eq!(decoded(b"\xff\xfe[\0]\0").unwrap_err(), "apps.json: the text is UTF-16");
        assert_eq!(decoded(b"\xfe\xff\0[\0]").unwrap_err(), "apps.json: the text is UTF-16");
        assert_eq!(decoded(b"caf\xe9").unwrap_err(), "apps.json: the text is not UTF-8");
    }
}
