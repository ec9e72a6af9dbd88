//! Layers that try to leave the root, exceed a limit, or are false: each is rejected with its
//! cause.

mod damage;
mod limits;
mod paths;
#[path = "../unpack_support/mod.rs"]
mod unpack_support;

use std::fs;
use std::path::PathBuf;

use carafe_layers::unpack::{UnpackError, UnpackLimits};
use tempfile::{TempDir, tempdir};
use unpack_support::{Memory, Tar};

/// A directory with the root and a file that must not change.
struct Jail {
    around: TempDir,
}

impl Jail {
    fn new() -> Self {
        let around = tempdir().unwrap();
        fs::create_dir(around.path().join("root")).unwrap();
        fs::write(around.path().join("secret"), "untouched").unwrap();
        Self { around }
    }

    fn root(&self) -> PathBuf {
        self.around.path().join("root")
    }

    fn outside(&self) -> String {
        self.around.path().to_str().unwrap().to_owned()
    }

    fn assert_intact(&self) {
        let names = fs::read_dir(self.around.path()).unwrap().count();
        assert_eq!(names, 2, "there is a new file beside the root");
        assert_eq!(fs::read_to_string(self.around.path().join("secret")).unwrap(), "untouched");
    }
}

/// Unpacks, expects an error, and returns its text.
fn rejected(image: &Memory) -> String {
    rejected_within(image, &UnpackLimits::default())
}

fn rejected_within(image: &Memory, limits: &UnpackLimits) -> String {
    let jail = Jail::new();
    let error = image.unpack_within(&jail.root(), limits).unwrap_err();
    jail.assert_intact();
    described(&error)
}

fn described(error: &UnpackError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message += &format!(": {source}");
        cause = source.source();
    }
    message
}

fn assert_rejected(layers: &[Tar], reason: &str) {
    let image = Memory::of(layers);
    let message = rejected(&image);
    assert!(message.contains(reason), "{message}");
    let layer = image.resolve().manifest.layers.last().unwrap().digest.to_string();
    assert!(message.contains(&layer), "{message}");
}
