//! Paths inside an image: bytes, relative to its root, in one normal form.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::text::{escape_bytes, escape_path};

/// Maximum length of a path inside an image in bytes: Linux opens no longer one (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// A path inside an image: relative to the image's root, components separated by single slashes,
/// no leading or trailing slash, no `.` and no `..`, at most [`MAX_PATH_BYTES`] long. Names are
/// bytes and need not be UTF-8. The empty path is the image's root.
///
/// The order is that of the raw bytes, which puts a directory before its content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(Arc<[u8]>);

/// A path that cannot be used inside an image.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to use `{path}` as a path in the image: {reason}")]
pub struct ImagePathError {
    path: String,
    reason: &'static str,
}

impl ImagePath {
    /// The normal form of `path`; a leading slash is dropped.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, ImagePathError> {
        let path = path.as_ref();
        let mut bytes = Vec::with_capacity(path.as_os_str().len());
        for component in path.components() {
            match component {
                Component::Normal(name) => push(&mut bytes, name.as_bytes()),
                Component::RootDir | Component::CurDir => {}
                _ => return Err(ImagePathError::new(path, "`..` is not allowed")),
            }
        }
        Self::checked(bytes)
    }

    /// The image's root.
    pub fn root() -> Self {
        Self(Arc::from([]))
    }

    /// This path with `below` (itself in normal form, or empty) under it.
    pub fn join(&self, below: &Path) -> Result<Self, ImagePathError> {
        let mut bytes = self.0.to_vec();
        for component in below.components() {
            match component {
                Component::Normal(name) => push(&mut bytes, name.as_bytes()),
                _ => return Err(ImagePathError::new(below, "it is not a plain relative path")),
            }
        }
        Self::checked(bytes)
    }

    fn checked(bytes: Vec<u8>) -> Result<Self, ImagePathError> {
        let reason = if bytes.len() > MAX_PATH_BYTES {
            "it is longer than 4096 bytes"
        } else if bytes.contains(&0) {
            "it contains a NUL byte"
        } else {
            return Ok(Self(bytes.into()));
        };
        Err(ImagePathError::new(Path::new(OsStr::from_bytes(&bytes)), reason))
    }

    /// The bytes as they are written into an archive.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the image's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the parent directory's path; `None` for the root.
    pub fn parent(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(self.0.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &self.0[..slash]))
    }

    /// This path relative to `prefix`: empty if they are equal, `None` if it is not below `prefix`.
    pub fn below(&self, prefix: &ImagePath) -> Option<&[u8]> {
        if prefix.is_root() {
            return Some(&self.0);
        }
        match self.0.strip_prefix(prefix.as_bytes())? {
            [] => Some(&[]),
            [b'/', rest @ ..] => Some(rest),
            _ => None,
        }
    }

    /// This path for the file system, still relative.
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.0))
    }
}

fn push(bytes: &mut Vec<u8>, name: &[u8]) {
    if !bytes.is_empty() {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name);
}

impl ImagePathError {
    fn new(path: &Path, reason: &'static str) -> Self {
        Self { path: escape_path(path), reason }
    }
}

/// For messages: see [`escape_bytes`].
impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape_bytes(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn has_one_normal_form() {
        assert_eq!(path("/home//frappe/./x/"), path("home/frappe/x"));
        assert_eq!(path("/"), ImagePath::root());
        assert!(ImagePath::new("a/../b").is_err());
        assert!(ImagePath::new("a\0b").is_err());
        assert!(ImagePath::new("a/".repeat(3000)).is_err());
        assert!(path("a").join(Path::new("/b")).is_err());
    }

    #[test]
    fn sorts_a_directory_before_its_content() {
        let mut paths = [path("a/b"), path("a-b"), path("a"), path("ab")];
        paths.sort();
        assert_eq!(paths, [path("a"), path("a-b"), path("a/b"), path("ab")]);
    }

    #[test]
    fn below_compares_complete_components() {
        assert_eq!(path("a/b/c").below(&path("a/b")), Some(&b"c"[..]));
        assert_eq!(path("a/b").below(&path("a/b")), Some(&b""[..]));
        assert_eq!(path("a/bc").below(&path("a/b")), None);
        assert_eq!(path("a").below(&ImagePath::root()), Some(&b"a"[..]));
        assert_eq!(path("a/b").parent(), Some(&b"a"[..]));
        assert_eq!(path("a").parent(), Some(&b""[..]));
        assert_eq!(ImagePath::root().parent(), None);
    }
}
