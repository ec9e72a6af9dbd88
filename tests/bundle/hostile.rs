//! Damaged and forged bundles are rejected.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carafe::bundle::{Bundle, BundleError};
use carafe_builder::progress::Progress;
use carafe_layers::archive::ArchiveSource;
use carafe_layers::digest::Digest;
use carafe_layers::layout::LayoutSource;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::ImageSource;
use serde_json::{Value, json};

use crate::world::{BODIES, Stores, World, error_text, layout};

fn blob(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(digest.hex())
}

fn put(directory: &Path, media_type: &str, bytes: &[u8]) -> Descriptor {
    let descriptor = Descriptor::of(media_type, bytes);
    fs::write(blob(directory, &descriptor.digest), bytes).unwrap();
    descriptor
}

fn read(directory: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    serde_json::from_slice(&fs::read(blob(directory, &digest)).unwrap()).unwrap()
}

/// The documents of a bundle in a directory.
struct Documents {
    contents: Value,
    listing: Value,
    index: Value,
}

/// Changes a bundle's documents and updates all digests.
fn forge(directory: &Path, change: impl FnOnce(&mut Documents)) {
    let top: Value = serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
    let index = read(directory, &top["manifests"][0]);
    let listing = read(directory, &index["manifests"][0]);
    let contents = read(directory, &listing["config"]);
    let mut documents = Documents { contents, listing, index };
    change(&mut documents);
    let Documents { contents, mut listing, mut index } = documents;
    let kind = listing["config"]["mediaType"].as_str().unwrap().to_owned();
    listing["config"] = json!(put(directory, &kind, contents.to_string().as_bytes()));
    let listed = put(directory, media_type::MANIFEST, listing.to_string().as_bytes());
    index["manifests"][0]["digest"] = json!(listed.digest);
    index["manifests"][0]["size"] = json!(listed.size);
    let root = put(directory, media_type::INDEX, index.to_string().as_bytes());
    fs::write(directory.join("index.json"), json!({"schemaVersion": 2, "manifests": [root]}).to_string())
        .unwrap();
}

/// The error for a bundle on a machine with empty stores. Asserts that the stores keep nothing that does
/// not match its digest.
fn rejection(directory: &Path) -> String {
    let stores = Stores::new();
    let attempt = |stores: &Stores| {
        let source: Arc<dyn ImageSource> = Arc::new(LayoutSource::open(directory, None)?);
        let bundle = Bundle::open(source, [])?;
        bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent())?;
        Ok::<_, BundleError>(())
    };
    let error = attempt(&stores).unwrap_err();
    for name in stores.entries("bodies-v1") {
        let body = fs::read(stores.root.join("bodies-v1").join(&name)).unwrap();
        assert_eq!(Digest::of(&body).hex(), name);
    }
    for name in stores.entries("git-v1") {
        let commit = name.parse().unwrap();
        assert!(stores.commits.find(&commit).unwrap().is_some());
    }
    error_text(&error)
}

#[track_caller]
fn assert_rejected(directory: &Path, words: &[&str]) {
    let text = rejection(directory);
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn rejects_a_truncated_changed_or_extended_blob() {
    let world = World::new("x = 1\n", &[]);
    let wheel = Digest::of(BODIES[0]);
    for wrong in [&b"a whee"[..], b"a wheeL", b"a wheels"] {
        let (directory, _) = world.directory(None);
        fs::write(blob(&directory, &wheel), wrong).unwrap();
        assert_rejected(&directory, &["failed to read body", &wheel.to_string(), "damaged, truncated"]);
    }
}

#[test]
fn rejects_a_truncated_changed_or_foreign_pack() {
    let world = World::new("x = 1\n", &[]);
    let other = World::new("x = 2\n", &[]);
    let (commit, not_it) = (&world.lock.apps[0].commit, &other.lock.apps[0].commit);
    let pack_of = |directory: &Path, commit: &str| -> PathBuf {
        let mut found = None;
        forge(directory, |documents| {
            let digest = documents.contents["commits"][commit].as_str().unwrap().parse().unwrap();
            found = Some(blob(directory, &digest));
        });
        found.unwrap()
    };
    let (theirs, _) = other.directory(None);
    let theirs = fs::read(pack_of(&theirs, not_it.as_str())).unwrap();
    let pack = fs::read(pack_of(&world.directory(None).0, commit.as_str())).unwrap();
    let mut flipped = pack.clone();
    flipped[pack.len() / 2] ^= 1;
    for wrong in [&pack[..pack.len() / 2], &flipped, &b""[..]] {
        let (directory, _) = world.directory(None);
        fs::write(pack_of(&directory, commit.as_str()), wrong).unwrap();
        assert_rejected(&directory, &["failed to read commit", commit.as_str(), "modified"]);
    }
    // A valid pack under the name of another commit.
    let (directory, _) = world.directory(None);
    let theirs = put(&directory, "application/vnd.dev.carafe.commit.v1.pack+gzip", &theirs);
    forge(&directory, |documents| {
        documents.contents["commits"][commit.as_str()] = json!(theirs.digest);
        documents.listing["layers"].as_array_mut().unwrap().push(json!(theirs));
    });
    assert_rejected(&directory, &["failed to read object", commit.as_str()]);
}

/// The expected words of the error, and the change to the documents that causes it.
type Forgery = (&'static [&'static str], Box<dyn Fn(&Path, &mut Documents)>);

fn assert_all_rejected(world: &World, forgeries: Vec<Forgery>) {
    for (words, forgery) in forgeries {
        let (directory, _) = world.directory(None);
        forge(&directory, |documents| forgery(&directory, documents));
        assert_rejected(&directory, words);
    }
}

fn add_layer(documents: &mut Documents, layer: &Descriptor) {
    documents.listing["layers"].as_array_mut().unwrap().push(json!(layer));
}

#[test]
fn rejects_documents_that_contradict_the_lock() {
    let (world, other) = (World::new("x = 1\n", &[]), World::new("x = 2\n", &[b"more"]));
    let recording = other.recording.to_bytes();
    let forged = world.lock.to_toml().replace(world.lock.apps[0].tree.as_str(), &"0".repeat(40));
    let forgeries: Vec<Forgery> = vec![
        (
            &["its recording is", "but its lock names"],
            Box::new(move |directory, documents| {
                let blob = put(directory, "x", &recording);
                documents.contents["record"] = json!(blob.digest);
                add_layer(documents, &blob);
            }),
        ),
        (
            &["does not match its lock"],
            Box::new(move |directory, documents| {
                let blob = put(directory, "x", forged.as_bytes());
                documents.contents["lock"] = json!(blob.digest);
                add_layer(documents, &blob);
            }),
        ),
        (&["commit", "is missing"], Box::new(|_, documents| documents.contents["commits"] = json!({}))),
        (&["image", "is missing"], Box::new(|_, documents| documents.contents["images"] = json!({}))),
        (
            &["image", "is missing"],
            Box::new(|_, documents| documents.index["manifests"].as_array_mut().unwrap().truncate(1)),
        ),
    ];
    assert_all_rejected(&world, forgeries);
}

#[test]
fn rejects_bodies_that_contradict_the_recording() {
    let world = World::new("x = 1\n", &[]);
    let wheel = || json!(Digest::of(BODIES[0]));
    let forgeries: Vec<Forgery> = vec![
        (
            &["body", "which its recording names, is missing"],
            Box::new(move |_, documents| {
                let layers = documents.listing["layers"].as_array_mut().unwrap();
                layers.retain(|blob| blob["digest"] != wheel());
            }),
        ),
        (
            &["body", "of 7 bytes"],
            Box::new(move |_, documents| {
                let layers = documents.listing["layers"].as_array_mut().unwrap();
                layers.iter_mut().find(|blob| blob["digest"] == wheel()).unwrap()["size"] =
                    json!(1_u64 << 40);
            }),
        ),
    ];
    assert_all_rejected(&world, forgeries);
}

#[test]
fn rejects_malformed_documents() {
    let forgeries: Vec<Forgery> = vec![
        (
            &["lock", "exceeds the limit"],
            Box::new(|_, documents| documents.listing["layers"][0]["size"] = json!(1_u64 << 50)),
        ),
        (
            &["its artifact type is `x`"],
            Box::new(|_, documents| documents.index["artifactType"] = json!("x")),
        ),
        (&["its version is 2"], Box::new(|_, documents| documents.contents["version"] = json!(2))),
        (&["failed to parse contents"], Box::new(|_, documents| documents.contents["more"] = json!(2))),
        (
            &["exactly one contents manifest"],
            Box::new(|_, documents| {
                let listing = documents.index["manifests"][0].clone();
                documents.index["manifests"].as_array_mut().unwrap().push(listing);
            }),
        ),
        (
            &["failed to parse contents manifest"],
            Box::new(|_, documents| {
                documents.listing["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")
            }),
        ),
        (&["is not in its manifest"], Box::new(|_, documents| documents.listing["layers"] = json!([]))),
    ];
    assert_all_rejected(&World::new("x = 1\n", &[]), forgeries);
}

#[test]
fn rejects_a_contents_manifest_over_the_size_limit() {
    let world = World::new("x = 1\n", &[]);
    let (directory, _) = world.directory(None);
    forge(&directory, |documents| {
        let layer = documents.listing["layers"][0].clone();
        documents.listing["layers"].as_array_mut().unwrap().extend(vec![layer; 40_000]);
    });
    assert_rejected(&directory, &["exceeds the limit"]);
}

#[test]
fn rejects_a_blob_that_is_a_symbolic_link() {
    let world = World::new("x = 1\n", &[]);
    let (directory, _) = world.directory(None);
    let path = blob(&directory, &Digest::of(BODIES[0]));
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert_rejected(&directory, &["symbolic link"]);
}

#[test]
fn reports_a_missing_blob() {
    let world = World::new("x = 1\n", &[]);
    let (directory, _) = world.directory(None);
    fs::remove_file(blob(&directory, &Digest::of(BODIES[0]))).unwrap();
    assert_rejected(&directory, &["failed to find 1 blob", "truncated"]);
}

#[test]
fn rejects_a_truncated_tar() {
    let world = World::new("x = 1\n", &[]);
    let (path, _) = world.tar(None);
    let bytes = fs::read(&path).unwrap();
    for part in [1, 3] {
        fs::write(&path, &bytes[..bytes.len() * part / 4]).unwrap();
        let opened = ArchiveSource::open(&path, None);
        let error = match opened {
            Err(error) => error.to_string(),
            Ok(source) => {
                let stores = Stores::new();
                let attempt = Bundle::open(Arc::new(source), [])
                    .and_then(|bundle| bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent()));
                attempt.unwrap_err().to_string()
            }
        };
        assert!(error.contains("failed to"), "{error}");
    }
}

#[test]
fn rejects_an_image_as_a_bundle() {
    let world = World::new("x = 1\n", &[]);
    for (image, word) in world.images.iter().zip(["without an artifact type", "not an index"]) {
        let error = Bundle::open(Arc::clone(&image.1), []).map(|_| ()).unwrap_err();
        assert!(error_text(&error).contains(word), "{}", error_text(&error));
    }
    assert!(Bundle::open(layout(&world.directory(None).0), []).is_ok());
}
