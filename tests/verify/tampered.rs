//! What is no image of ours, is damaged, or says two things at once: an error that names it, and
//! never `equal`. All of it is found before anything is built.

use std::fs;
use std::path::PathBuf;

use carafe::verify::{Claims, Level};
use carafe_builder::spec::Network;
use carafe_layers::digest::Digest;
use serde_json::json;

use crate::demo::{Demo, bases};
use crate::variants::{APP, Variant, opened, original, small};

/// What verify says of the image in a layout: an error.
fn refused(layout: &str) -> String {
    let demo = Demo::new();
    let stderr = demo.fail(1, &["verify", "--quiet", layout]);
    assert!(stderr.contains("help: "), "{stderr}");
    // As one line: messages are wrapped where the screen ends.
    let lines = stderr.lines().map(|line| line.trim_start_matches([' ', '×', '╰', '─', '▶', '│', '├']));
    lines.collect::<Vec<_>>().join(" ")
}

fn tampered(directory: &tempfile::TempDir, change: impl FnOnce(&mut Variant)) -> String {
    let path = path(directory);
    let mut variant = Variant::of(small(), &path);
    change(&mut variant);
    variant.finish();
    refused(path.to_str().unwrap())
}

fn path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("variant")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(small().parent().unwrap()).unwrap()
}

/// Asserts that an image is refused with these words, once it is changed so.
fn names(words: &str, change: impl FnOnce(&mut Variant)) {
    let said = tampered(&directory(), change);
    assert!(said.contains(words), "`{words}` is not in\n{said}");
}

#[test]
fn an_image_that_something_else_built() {
    let said = refused(&format!("oci:{}/base-image", bases().display()));
    assert!(said.contains("it has no label `dev.carafe.lock`"), "{said}");
    assert!(said.contains("carafe diff"), "{said}");
}

#[test]
fn a_label_that_is_no_lock_of_ours() {
    names("failed to read the label `dev.carafe.lock`", |image| *image.lock() = json!("who knows"));
    names("its version is 99, this version of carafe supports 1", |image| {
        image.edit_lock("version = 1\n", "version = 99\n")
    });
    names("unknown format-version 99", |image| {
        image.edit_lock("format-version = 1\n", "format-version = 99\n");
    });
    names("it has more than 1048576 bytes", |image| *image.lock() = json!("#".repeat(2 << 20)));
    names("and carafe writes at most 65536", |image| {
        let lock = image.lock().as_str().unwrap().to_owned() + "#" + &"x".repeat(64 << 10);
        *image.lock() = json!(lock);
    });
    names("a line of the lock should be", |image| image.edit_lock("version = 1\n", "version  = 1\n"));
    names("another number of lines", |image| {
        *image.lock() = json!(image.lock().as_str().unwrap().trim_end());
    });
}

#[test]
fn a_lock_that_the_rest_of_the_image_contradicts() {
    names("the config's time of creation should be", |image| {
        image.config["created"] = json!("2001-01-01T00:00:00Z")
    });
    names("the lock's source-date-epoch should be", |image| {
        image.edit_lock("source-date-epoch = 1", "source-date-epoch = 2");
    });
    names("the manifest's annotation of the base image should be", |image| {
        image.manifest["annotations"]["org.opencontainers.image.base.name"] = json!("docker.io/other");
    });
    names("the manifest's annotation of the base image's digest should be", |image| {
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
    names("the lock has", |image| {
        let (base, build) = (digest(image, "base-image"), digest(image, "build-image"));
        image.edit_lock(&base, &build);
    });
    let apps = |image: &Variant| -> Vec<toml::Value> {
        let text = image.config["config"]["Labels"]["dev.carafe.lock"].as_str().unwrap();
        text.parse::<toml::Table>().unwrap()["app"].as_array().unwrap().clone()
    };
    let text = |app: &toml::Value, key: &str| app[key].as_str().unwrap().to_owned();
    // Both commits are in the store: nobody is asked.
    names("does not match the lock: its tree", |image| {
        let apps = apps(image);
        image.edit_lock(&text(&apps[1], "commit"), &text(&apps[0], "commit"));
    });
    names("does not match the lock: its tree", |image| {
        let tree = text(&apps(image)[1], "tree");
        image.edit_lock(&tree, &"0".repeat(40));
    });
    names("is not a valid app name", |image| image.edit_lock("\"greetings\"", "\"../greetings\""));
    names("failed to read", |image| {
        let url = text(&apps(image)[1], "url");
        image.edit_lock(&url, "ext::sh -c touch% /tmp/x");
    });
}

#[test]
fn an_app_that_only_its_builder_has() {
    let local = |image: &mut Variant| {
        let lock = image.lock().as_str().unwrap().to_owned();
        let (before, rest) = lock.split_once("name = \"greetings\"\n").unwrap();
        let (_, after) = rest.split_once("commit = ").unwrap();
        let app = "name = \"greetings\"\npath = \"apps/greetings\"\ncommit = ";
        *image.lock() = json!(format!("{before}{app}{after}"));
    };
    let directory = directory();
    let said = tampered(&directory, local);
    assert!(said.contains("its app `greetings` was taken from the directory `apps/greetings`"), "{said}");
    assert!(said.contains("--directory DIRECTORY"), "{said}");
    let elsewhere = PathBuf::from("/elsewhere");
    let claims =
        Claims::read(&opened(&path(&directory)), Level::Bytes, Some(&elsewhere), Network::default()).unwrap();
    assert_eq!(claims.spec.directory, elsewhere);
}

#[test]
fn layers_and_documents_that_are_not_what_they_say() {
    names("its tar should have the digest", |image| {
        image.config["rootfs"]["diff_ids"][1] = json!(Digest::of(b"another"));
    });
    names("and its config", |image| {
        image.config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    });
    names("bytes, got", |image| {
        let size = image.manifest["layers"][1]["size"].as_u64().unwrap();
        image.manifest["layers"][1]["size"] = json!(size + 1);
    });
    names("is over the limit of 4194304", |image| {
        image.manifest["annotations"]["x"] = json!("x".repeat(10 << 20));
    });
    for (words, change) in [
        ("bytes, got", (|bytes| bytes.truncate(bytes.len() / 2)) as fn(&mut Vec<u8>)),
        ("failed to", |bytes| *bytes.last_mut().unwrap() ^= 1),
    ] {
        names(words, |image| {
            let blob = image.blob(APP);
            let mut bytes = fs::read(&blob).unwrap();
            change(&mut bytes);
            // The file is shared with the image that this is a copy of.
            fs::remove_file(&blob).unwrap();
            fs::write(&blob, bytes).unwrap();
        });
    }
    assert!(original().join("index.json").is_file());
}
