//! Reads the metadata file inside a package. A package that cannot be read has no metadata; sizes and
//! counts are limited.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use carafe_layers::tar_reader::TarReader;
use flate2::bufread::MultiGzDecoder;
use zip::ZipArchive;

use super::material::Kind;
use super::package::{Form, Guess, Metadata, node, python};

/// The maximum size of a metadata file, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// The maximum number of bytes that are decompressed to find it.
const MAX_UNPACKED_BYTES: u64 = 1 << 30;
/// The maximum number of archive members that are inspected.
const MAX_ARCHIVE_MEMBERS: usize = 200_000;

/// The metadata of the package in `body`.
pub(super) fn metadata(guess: &Guess, body: File) -> Option<Metadata> {
    match guess.form {
        Form::Zip => zip(body),
        Form::TarGzip => tar(guess.kind, body),
    }
}

/// A wheel, or an sdist in zip format.
fn zip(body: impl Read + Seek) -> Option<Metadata> {
    let mut archive = ZipArchive::new(BufReader::new(body)).ok()?;
    let names = archive.file_names().take(MAX_ARCHIVE_MEMBERS).filter_map(Result::ok);
    let name = names.into_iter().find(|name| is_metadata_file(name))?.into_owned();
    let mut text = Vec::new();
    archive.by_name(&name).ok()?.take(MAX_TEXT_BYTES).read_to_end(&mut text).ok()?;
    Some(python(&String::from_utf8_lossy(&text)))
}

fn is_metadata_file(name: &str) -> bool {
    match name.split_once('/') {
        Some((directory, "METADATA")) => directory.ends_with(".dist-info"),
        Some((_, file)) => file == "PKG-INFO",
        None => false,
    }
}

/// A Node package, an sdist, or a snapshot of a repository, which may be either.
fn tar(kind: Kind, body: impl Read) -> Option<Metadata> {
    let unpacked = MultiGzDecoder::new(BufReader::new(body)).take(MAX_UNPACKED_BYTES);
    let mut tar = TarReader::new(BufReader::new(unpacked));
    let mut found = None;
    for _ in 0..MAX_ARCHIVE_MEMBERS {
        let Ok(Some(member)) = tar.next_member() else { break };
        let name = String::from_utf8_lossy(&member.name).into_owned();
        let file = name.trim_start_matches("./").split_once('/').map(|(_, file)| file);
        let is_python = file == Some("PKG-INFO") && kind != Kind::Node;
        let is_node = file == Some("package.json");
        if !(is_python || is_node) {
            continue;
        }
        let Ok(text) = tar.content(MAX_TEXT_BYTES) else { break };
        let text = String::from_utf8_lossy(&text);
        if is_python {
            return Some(python(&text));
        }
        found = node(&text);
        // A Python package may contain a package.json too; a Node package has no PKG-INFO.
        if kind == Kind::Node && found.is_some() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    fn targz(files: &[(&str, &str)]) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        let mut tar = tar::Builder::new(gzip);
        for (name, text) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn reads_the_metadata_file_of_each_kind_of_package() {
        let info = "Name: a\nVersion: 1\n";
        let json = r#"{"name":"b","version":"2"}"#;
        let name = |metadata: Option<Metadata>| metadata.and_then(|metadata| metadata.name);
        let both = targz(&[("x/package.json", json), ("x/sub/PKG-INFO", "Name: no\n"), ("x/PKG-INFO", info)]);
        assert_eq!(name(tar(Kind::File, &both[..])).as_deref(), Some("a"));
        assert_eq!(name(tar(Kind::Node, &both[..])).as_deref(), Some("b"));
        let snapshot = targz(&[("repo-1/README", ""), ("repo-1/package.json", json)]);
        assert_eq!(name(tar(Kind::File, &snapshot[..])).as_deref(), Some("b"));
        assert_eq!(tar(Kind::File, &targz(&[("x/setup.py", "")])[..]), None);

        let mut wheel = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        wheel.start_file("a/METADATA", options).unwrap();
        wheel.start_file("a-1.dist-info/METADATA", options).unwrap();
        wheel.write_all(info.as_bytes()).unwrap();
        let wheel = wheel.finish().unwrap();
        assert_eq!(name(super::zip(wheel)).as_deref(), Some("a"));
    }

    #[test]
    fn a_damaged_package_has_no_metadata() {
        let whole = targz(&[("x/package.json", r#"{"name":"b"}"#)]);
        for wrong in [&b""[..], b"not gzip", &whole[..20]] {
            assert_eq!(tar(Kind::Node, wrong), None);
            assert_eq!(super::zip(Cursor::new(wrong.to_vec())), None);
        }
    }
}
