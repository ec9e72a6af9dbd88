//! The names of images in a registry, an OCI layout or an archive.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use carafe_layers::archive::ArchiveSource;
use carafe_layers::digest::Digest;
use carafe_layers::layout::LayoutSource;
use carafe_layers::source::{ImageSource, SourceError};
use carafe_layers::text::escape_bytes;

use crate::registry::{ParseReferenceError, Reference, Registry};

/// The prefix of the name of a layout.
const LAYOUT: &str = "oci:";

/// The name of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// In a registry.
    Registry(Reference),
    /// `oci:DIRECTORY[:REF]`, or the path of a directory that is a layout.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The image in it, if it has several.
        reference: Option<String>,
    },
    /// `docker-archive:FILE[:TAG]` or `oci-archive:FILE[:REF]`, or the path of a file.
    Archive {
        /// The form that is written. Either form can be read.
        kind: ArchiveKind,
        /// The file.
        path: PathBuf,
        /// The image in it, if it has several.
        reference: Option<String>,
    },
}

/// The forms of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An OCI layout in a tar file.
    Oci,
    /// The format of `docker load`.
    Docker,
}

impl ArchiveKind {
    /// The prefix of the name of such an archive.
    fn prefix(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive:",
            Self::Docker => "docker-archive:",
        }
    }
}

impl FromStr for ImageName {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            let (path, reference) = split_path(rest);
            return Ok(Self::Layout { path, reference });
        }
        for kind in [ArchiveKind::Oci, ArchiveKind::Docker] {
            if let Some(rest) = text.strip_prefix(kind.prefix()) {
                let (path, reference) = split_path(rest);
                return Ok(Self::Archive { kind, path, reference });
            }
        }
        if Path::new(text).join("oci-layout").is_file() {
            return Ok(Self::Layout { path: PathBuf::from(text), reference: None });
        }
        if Path::new(text).is_file() {
            let (kind, path) = (ArchiveKind::Oci, PathBuf::from(text));
            return Ok(Self::Archive { kind, path, reference: None });
        }
        text.parse().map(Self::Registry)
    }
}

/// Splits `PATH[:NAME]`. As in skopeo, a path has no colon.
fn split_path(text: &str) -> (PathBuf, Option<String>) {
    match text.split_once(':') {
        Some((path, name)) => (PathBuf::from(path), Some(name.to_owned())),
        None => (PathBuf::from(text), None),
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, reference) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { path, reference } => (LAYOUT, path, reference),
            Self::Archive { kind, path, reference } => (kind.prefix(), path, reference),
        };
        write!(f, "{prefix}{}", escape_bytes(path.as_os_str().as_encoded_bytes()))?;
        reference.as_ref().map_or(Ok(()), |name| write!(f, ":{}", escape_bytes(name.as_bytes())))
    }
}

impl ImageName {
    /// Parses the name of an output on this machine: `oci:DIRECTORY[:REF]`, an archive, or the path of a
    /// directory, which need not exist.
    pub fn output(text: &str) -> Result<Self, ParseReferenceError> {
        let prefixes = [LAYOUT, ArchiveKind::Oci.prefix(), ArchiveKind::Docker.prefix()];
        match prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            true => text.parse(),
            false => Ok(Self::Layout { path: PathBuf::from(text), reference: None }),
        }
    }

    /// The directory of a layout.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Layout { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The reference of an image in a registry.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            _ => None,
        }
    }

    /// The same name, with a relative path resolved against `directory`.
    pub fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::Layout { path, reference } => Self::Layout { path: directory.join(path), reference },
            Self::Archive { kind, path, reference } => {
                Self::Archive { kind, path: directory.join(path), reference }
            }
            registry => registry,
        }
    }

    /// Opens the image. From a registry it is read by the digest `pinned`, if given, instead of the tag.
    pub fn open(
        &self,
        registry: &Registry,
        pinned: Option<Digest>,
    ) -> Result<Arc<dyn ImageSource>, SourceError> {
        Ok(match self {
            Self::Registry(reference) => {
                let reference = pinned.map_or_else(|| reference.clone(), |digest| reference.pinned(digest));
                Arc::new(registry.source(&reference))
            }
            Self::Layout { path, reference } => Arc::new(LayoutSource::open(path, reference.as_deref())?),
            Self::Archive { path, reference, .. } => {
                Arc::new(ArchiveSource::open(path, reference.as_deref())?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_paths_and_references() {
        let layout = |path: &str, reference: Option<&str>| ImageName::Layout {
            path: path.into(),
            reference: reference.map(str::to_owned),
        };
        for (text, name) in [
            ("oci:a/b", layout("a/b", None)),
            ("oci:a/b:latest", layout("a/b", Some("latest"))),
            ("oci:b:reg.example/x:1", layout("b", Some("reg.example/x:1"))),
        ] {
            assert_eq!(text.parse::<ImageName>().unwrap(), name, "{text}");
        }
        assert!(matches!("a/b:1".parse().unwrap(), ImageName::Registry(_)));
        assert_eq!(ImageName::output("a/b").unwrap(), layout("a/b", None));
        for text in ["oci:a/b", "oci:a/b:1", "oci-archive:a.tar:1", "docker-archive:a.tar:erp:15"] {
            assert_eq!(ImageName::output(text).unwrap().to_string(), text);
        }
    }
}
