//! Layers that want out of the root, more than their share, or are not what they say: each
//! refused, by name.

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

/// A folder with a file beside the root, which nothing may touch.
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
        assert_eq!(names, 2, "something appeared beside the root");
        assert_eq!(fs::read_to_string(self.around.path().join("secret")).unwrap(), "untouched");
    }
}

/// Unpacks, expects a refusal, and gives its words.
fn refused(image: &Memory) -> String {
    refused_within(image, &UnpackLimits::default())
}

fn refused_within(image: &Memory, limits: &UnpackLimits) -> String {
    let jail = Jail::new();
    let error = image.unpack_within(&jail.root(), limits).unwrap_err();
    jail.assert_intact();
    described(&error)
}

fn described(error: &UnpackError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        words += &format!(": {source}");
        cause = source.source();
    }
    words
}

fn assert_refused(layers: &[Tar], reason: &str) {
    let image = Memory::of(layers);
    let words = refused(&image);
    assert!(words.contains(reason), "{words}");
    let layer = image.resolve().manifest.layers.last().unwrap().digest.to_string();
    assert!(words.contains(&layer), "{words}");
}
