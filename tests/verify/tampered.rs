//! Images that Carafe did not build, damaged ones and contradictory ones: an error that describes the
//! problem, and never `reproduced`. All of them are rejected before anything is built.

use std::fs;
use std::path::PathBuf;

use carafe::verify::{Claims, Level};
use carafe_builder::spec::Network;
use carafe_layers::digest::Digest;
use serde_json::json;

use crate::demo::{Demo, bases};
use crate::variants::{APP, Variant, opened, original, small};

/// The error of `carafe verify` for the image in a layout, as one line.
fn rejection(layout: &str) -> String {
    let demo = Demo::new();
    let stderr = demo.fail(1, &["verify", "--quiet", layout]);
    assert!(stderr.contains("help: "), "{stderr}");
    // Messages are wrapped at the end of the screen.
    let lines = stderr.lines().map(|line| line.trim_start_matches([' ', '×', '╰', '─', '▶', '│', '├']));
    lines.collect::<Vec<_>>().join(" ")
}

fn tampered(directory: &tempfile::TempDir, change: impl FnOnce(&mut Variant)) -> String {
    let path = path(directory);
    let mut variant = Variant::of(small(), &path);
    change(&mut variant);
    variant.finish();
    rejection(path.to_str().unwrap())
}

fn path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("variant")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(small().parent().unwrap()).unwrap()
}

/// Asserts that a changed image is rejected with an error that contains `words`.
fn rejects(words: &str, change: impl FnOnce(&mut Variant)) {
    let error = tampered(&directory(), change);
    assert!(error.contains(words), "`{words}` is not in\n{error}");
}

#[test]
fn an_image_that_carafe_did_not_build() {
    let error = rejection(&format!("oci:{}/base-image", bases().display()));
    assert!(error.contains("it has no label `dev.carafe.lock`"), "{error}");
    assert!(error.contains("carafe diff"), "{error}");
}

#[test]
fn a_label_that_is_not_a_valid_lock() {
    rejects("failed to read the label `dev.carafe.lock`", |image| *image.lock() = json!("who knows"));
    rejects("its version is 99, this version of carafe supports 1", |image| {
        image.edit_lock("version = 1\n", "version = 99\n")
    });
    rejects("unknown format-version 99", |image| {
        image.edit_lock("format-version = 1\n", "format-version = 99\n");
    });
    rejects("it is larger than 1 MiB", |image| *image.lock() = json!("#".repeat(2 << 20)));
    rejects("more than the 66 kB that Carafe writes", |image| {
        let lock = image.lock().as_str().unwrap().to_owned() + "#" + &"x".repeat(64 << 10);
        *image.lock() = json!(lock);
    });
    rejects("a line of the lock should be", |image| image.edit_lock("version = 1\n", "version  = 1\n"));
    rejects("a different number of lines", |image| {
        *image.lock() = json!(image.lock().as_str().unwrap().trim_end());
    });
}

#[test]
fn a_lock_that_the_rest_of_the_image_contradicts() {
    rejects("the config's time of creation should be", |image| {
        image.config["created"] = json!("2001-01-01T00:00:00Z")
    });
    rejects("the lock's source-date-epoch should be", |image| {
        image.edit_lock("source-date-epoch = 1", "source-date-epoch = 2");
    });
    rejects("the manifest's annotation of the base image should be", |image| {
        image.manifest["annotations"]["org.opencontainers.image.base.name"] = json!("docker.io/other");
    });
    rejects("the manifest's annotation of the base image's digest should be", |image| {
        image.manifest["annotations"]["org.opencontainers.image.base.digest"] = json!(Digest::of(b"other"));
    });
}

#[test]
fn a_lock_that_names_other_inputs() {
    let digest = |image: &Variant, table: &str| {
        let text = image.config["config"]["Labels"]["dev.carafe.lock"].as_str().unwrap();
        let lock: toml::Table = text.parse().unwrap();
        lock[table]["digest"].as_str().unwrap().to_owned()
    };
    rejects("the lock has", |image| {
        let (base, build) = (digest(image, "base-image"), digest(image, "build-image"));
        image.edit_lock(&base, &build);
    });
    let apps = |image: &Variant| -> Vec<toml::Value> {
        let text = image.config["config"]["Labels"]["dev.carafe.lock"].as_str().unwrap();
        text.parse::<toml::Table>().unwrap()["app"].as_array().unwrap().clone()
    };
    let text = |app: &toml::Value, key: &str| app[key].as_str().unwrap().to_owned();
    // Both commits are in the cache: nothing is fetched.
    rejects("does not match the lock: its tree", |image| {
        let apps = apps(image);
        image.edit_lock(&text(&apps[1], "commit"), &text(&apps[0], "commit"));
    });
    rejects("does not match the lock: its tree", |image| {
        let tree = text(&apps(image)[1], "tree");
        image.edit_lock(&tree, &"0".repeat(40));
    });
    rejects("is not a valid app name", |image| image.edit_lock("\"greetings\"", "\"../greetings\""));
    rejects("failed to parse `ext::sh", |image| {
        let url = text(&apps(image)[1], "url");
        image.edit_lock(&url, "ext::sh -c touch% /tmp/x");
    });
}

#[test]
fn an_app_from_a_directory_of_the_builder() {
    let local = |image: &mut Variant| {
        let lock = image.lock().as_str().unwrap().to_owned();
        let (before, rest) = lock.split_once("name = \"greetings\"\n").unwrap();
        let (_, after) = rest.split_once("commit = ").unwrap();
        let app = "name = \"greetings\"\npath = \"apps/greetings\"\ncommit = ";
        *image.lock() = json!(format!("{before}{app}{after}"));
    };
    let directory = directory();
    let error = tampered(&directory, local);
    assert!(error.contains("its app `greetings` came from the directory `apps/greetings`"), "{error}");
    assert!(error.contains("--spec-dir DIR"), "{error}");
    let elsewhere = PathBuf::from("/elsewhere");
    let claims =
        Claims::read(&opened(&path(&directory)), Level::Bytes, Some(&elsewhere), Network::default()).unwrap();
    assert_eq!(claims.spec.directory, elsewhere);
}

#[test]
fn layers_and_documents_that_do_not_match_their_digests() {
    rejects("expected the diff id", |image| {
        image.config["rootfs"]["diff_ids"][1] = json!(Digest::of(b"another"));
    });
    rejects("diff ids", |image| {
        image.config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    });
    rejects("bytes, got", |image| {
        let size = image.manifest["layers"][1]["size"].as_u64().unwrap();
        image.manifest["layers"][1]["size"] = json!(size + 1);
    });
    rejects("exceeds the limit of 4194304", |image| {
        image.manifest["annotations"]["x"] = json!("x".repeat(10 << 20));
    });
    for (words, change) in [
        ("bytes, got", (|bytes| bytes.truncate(bytes.len() / 2)) as fn(&mut Vec<u8>)),
        ("failed to", |bytes| *bytes.last_mut().unwrap() ^= 1),
    ] {
        rejects(words, |image| {
            let blob = image.blob(APP);
            let mut bytes = fs::read(&blob).unwrap();
            change(&mut bytes);
            // A hard link to the original image's file.
            fs::remove_file(&blob).unwrap();
            fs::write(&blob, bytes).unwrap();
        });
    }
    assert!(original().join("index.json").is_file());
}
