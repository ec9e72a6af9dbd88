//! Reading an image from an OCI layout, which may be untrusted.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::{BLOBS, INDEX, open_below, read_document};
use crate::digest::Digest;
use crate::oci::{Descriptor, Index, REF_NAME};
use crate::referrers;
use crate::source::{self, ImageSource, SourceError};
use crate::text::{escape, escape_path};

/// One image of an OCI layout.
#[derive(Debug)]
pub struct LayoutSource {
    path: PathBuf,
    root: Descriptor,
    name: String,
}

impl LayoutSource {
    /// Opens the image that `index.json` names `reference` (its `org.opencontainers.image.ref.name`,
    /// or a digest), or the only image. An image may be a manifest or an index of manifests.
    pub fn open(path: impl Into<PathBuf>, reference: Option<&str>) -> Result<Self, SourceError> {
        let path = path.into();
        let mut name = format!("oci:{}", escape_path(&path));
        if let Some(reference) = reference {
            name.extend([":", &escape(reference)]);
        }
        let root = choose(read_index(&path, &name)?, reference, &name)?;
        Ok(Self { path, root, name })
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<std::fs::File, SourceError> {
        let hex = descriptor.digest.hex();
        open_below(&self.path, &[BLOBS[0], BLOBS[1], &hex]).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::NotFound {
                what: format!("blob {}", descriptor.digest),
                image: self.name.clone(),
            },
            _ => io_error(&self.path.join(BLOBS[0]).join(BLOBS[1]).join(hex), error),
        })
    }
}

impl ImageSource for LayoutSource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((self.root.clone(), self.manifest(&self.root)?))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        source::read_document(self, "manifest", descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        Ok(Box::new(self.open_blob(descriptor)?))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SourceError> {
        let tag = referrers::tag(subject);
        let mut entries = read_index(&self.path, &self.name)?.manifests.into_iter();
        let list = entries.find(|entry| entry.annotations.get(REF_NAME) == Some(&tag));
        list.map_or(Ok(Vec::new()), |list| referrers::read(self, &list))
    }
}

fn read_index(path: &Path, name: &str) -> Result<Index, SourceError> {
    let bytes = read_document(path, &[INDEX]).map_err(|error| io_error(&path.join(INDEX), error))?;
    serde_json::from_slice(&bytes).map_err(|source| SourceError::Parse {
        what: "index",
        image: name.to_owned(),
        source,
    })
}

fn choose(index: Index, reference: Option<&str>, name: &str) -> Result<Descriptor, SourceError> {
    let invalid = |reason: String| SourceError::Invalid { image: name.to_owned(), reason };
    let mut found = index.manifests;
    if reference.is_none() {
        found.retain(|entry| !entry.annotations.get(REF_NAME).is_some_and(|name| referrers::is_tag(name)));
    }
    if let Some(reference) = reference {
        let digest: Option<Digest> = reference.parse().ok();
        found.retain(|entry| match digest {
            Some(digest) => entry.digest == digest,
            None => entry.annotations.get(REF_NAME).is_some_and(|name| name == reference),
        });
        if found.is_empty() {
            let what = format!("`{}`", escape(reference));
            return Err(SourceError::NotFound { what, image: name.to_owned() });
        }
    }
    // An image may have several names.
    found.sort_by_key(|entry| entry.digest);
    found.dedup_by(|one, other| one.digest == other.digest);
    if found.len() > 1 {
        let names =
            found.iter().map(|entry| entry.annotations.get(REF_NAME).map_or("(no name)", String::as_str));
        let names = escape(&names.collect::<Vec<_>>().join(", "));
        return Err(invalid(format!("it contains {} images, so one must be named: {names}", found.len())));
    }
    found.pop().ok_or_else(|| invalid("the index is empty".to_owned()))
}

fn io_error(path: &Path, error: io::Error) -> SourceError {
    SourceError::Io { path: escape_path(path), source: error }
}
