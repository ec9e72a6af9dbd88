//! The list of the materials of a bundle.

use std::io::{Cursor, Write};

use carafe::bundle::Bundle;
use carafe_layers::digest::Digest;
use serde_json::{Value, json};

use crate::world::{Stores, World, archive, layout};

fn wheel() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("click-8.1.7.dist-info/METADATA", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"Name: click\nVersion: 8.1.7\nLicense: BSD-3-Clause\n\n").unwrap();
    zip.finish().unwrap().into_inner()
}

fn node() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), Default::default()));
    let text = br#"{"name":"@vue/shared","version":"3.5.1","license":"MIT"}"#;
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "package/package.json", &text[..]).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// A bundle with packages, and its list of materials as JSON.
fn listed(open: impl Fn(&World) -> Bundle, stores: &Stores) -> (World, Value) {
    let mut world = World::new("app_license = \"GPL-3.0\"\n", &[]);
    world.record("https://files.example.com/click-8.1.7-py3-none-any.whl", &wheel());
    world.record("https://registry.example.com/@vue/shared/-/shared-3.5.1.tgz", &node());
    world.record("https://codeload.example.com/o/repo/tar.gz/abc", &node());
    world.record("https://files.example.com/broken-1.0.tar.gz", b"not an archive");
    world.record("https://index.example.com/simple/click/", b"<html>");
    let bundle = open(&world);
    let materials = bundle.materials(&stores.bodies, &stores.commits);
    let json = serde_json::to_value(&materials).unwrap();
    (world, json)
}

#[test]
fn lists_the_metadata_of_packages() {
    let open_directory = |world: &World| Bundle::open(layout(&world.directory(None).0), []).unwrap();
    let (world, json) = listed(open_directory, &Stores::new());
    assert_eq!(json["lock_digest"], json!(world.lock.digest()));
    assert_eq!(json["recording_digest"], json!(world.recording.digest()));
    let find = |source: &str| {
        let materials = json["materials"].as_array().unwrap();
        materials.iter().find(|material| material["source"] == source).unwrap().clone()
    };
    let app = find("https://example.com/frappe");
    assert_eq!((&app["kind"], &app["license"]), (&json!("app"), &json!("GPL-3.0")));
    assert_eq!(app["commit"], json!(world.lock.apps[0].commit));
    let image = find("example.com/base:1");
    assert_eq!((&image["kind"], &image["size"]), (&json!("image"), &json!(14)));
    assert_eq!(image["digest"], json!(world.lock.base_image.digest));
    let click = find("https://files.example.com/click-8.1.7-py3-none-any.whl");
    let wheel = wheel();
    assert_eq!(
        click,
        json!({"kind": "python", "name": "click", "version": "8.1.7", "license": "BSD-3-Clause",
            "source": click["source"], "commit": null, "digest": Digest::of(&wheel), "size": wheel.len()})
    );
    let short = |source: &str| {
        let material = find(source);
        ["kind", "name", "version", "license"].map(|key| material[key].as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(
        short("https://registry.example.com/@vue/shared/-/shared-3.5.1.tgz"),
        ["node", "@vue/shared", "3.5.1", "MIT"]
    );
    let snapshot = short("https://codeload.example.com/o/repo/tar.gz/abc");
    assert_eq!(snapshot, ["node", "@vue/shared", "3.5.1", "MIT"]);
    let broken = short("https://files.example.com/broken-1.0.tar.gz");
    assert_eq!(broken, ["file", "broken", "1.0", "-"]);
    assert_eq!(short("https://index.example.com/simple/click/")[0], "metadata");
}

#[test]
fn the_list_is_the_same_from_a_tar_and_from_the_stores() {
    let stores = Stores::new();
    let directory = |world: &World| Bundle::open(layout(&world.directory(None).0), []).unwrap();
    let tar = |world: &World| Bundle::open(archive(&world.tar(None).0), []).unwrap();
    let (_, first) = listed(directory, &stores);
    let (_, second) = listed(tar, &Stores::new());
    assert_eq!(first, second);
}
