//! Paths inside an image: bytes, relative to its root, in one normal form.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The longest path in bytes that goes into an image: Linux opens no longer one (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// A path inside an image: relative to the image's root, components separated by single slashes,
/// no leading or trailing slash, no `.` and no `..`, at most [`MAX_PATH_BYTES`] long. Names are
/// bytes and need not be UTF-8. The empty path is the image's root.
///
/// The order is that of the raw bytes, which puts a folder before what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(Arc<[u8]>);

/// Something that cannot be a path inside an image.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to use `{path}` as a path in the image: {reason}")]
pub struct ImagePathError {
    path: String,
    reason: &'static str,
}

impl ImagePath {
    /// Brings `path` into normal form; a leading slash is dropped.
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
                _ => return Err(ImagePathError::new(below, "it is not plainly below a folder")),
            }
        }
        Self::checked(bytes)
    }

    fn checked(bytes: Vec<u8>) -> Result<Self, ImagePathError> {
        let reason = if bytes.len() > MAX_PATH_BYTES {
            "it is longer than 4096 bytes"
        } else if bytes.contains(&0) {
            "it holds a NUL byte"
        } else {
            return Ok(Self(bytes.into()));
        };
        Err(ImagePathError::new(Path::new(OsStr::from_bytes(&bytes)), reason))
    }

    /// The bytes, as they go into an archive.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the image's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of the folder that holds this path; none for the root.
    pub fn parent(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(self.0.iter().rposition(|&byte| byte == b'/').map_or(&[], |slash| &self.0[..slash]))
    }

    /// What remains below `prefix`: empty where they are equal, none where this path is not below.
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

    /// The path as the file system takes it, still relative.
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
        Self { path: printable(path.as_os_str().as_bytes()), reason }
    }
}

/// For a message: bytes that are no UTF-8 replaced, control characters escaped, so that a file's
/// name cannot move a terminal's cursor; cut after 300 characters.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars().take(300) {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// For the error of what cannot be parsed: no more of a hostile string than a person would read, and
/// nothing that a terminal would obey.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// [`printable`] for a path on this machine: what lies in a tree is named by whoever built it.
pub fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('`')?;
        fmt::Display::fmt(self, f)?;
        f.write_char('`')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn has_one_form() {
        assert_eq!(path("/home//frappe/./x/"), path("home/frappe/x"));
        assert_eq!(path("/"), ImagePath::root());
        assert!(ImagePath::new("a/../b").is_err());
        assert!(ImagePath::new("a\0b").is_err());
        assert!(ImagePath::new("a/".repeat(3000)).is_err());
        assert!(path("a").join(Path::new("/b")).is_err());
    }

    #[test]
    fn a_folder_comes_before_what_it_holds() {
        let mut paths = [path("a/b"), path("a-b"), path("a"), path("ab")];
        paths.sort();
        assert_eq!(paths, [path("a"), path("a-b"), path("a/b"), path("ab")]);
    }

    #[test]
    fn below_respects_components() {
        assert_eq!(path("a/b/c").below(&path("a/b")), Some(&b"c"[..]));
        assert_eq!(path("a/b").below(&path("a/b")), Some(&b""[..]));
        assert_eq!(path("a/bc").below(&path("a/b")), None);
        assert_eq!(path("a").below(&ImagePath::root()), Some(&b"a"[..]));
        assert_eq!(path("a/b").parent(), Some(&b"a"[..]));
        assert_eq!(path("a").parent(), Some(&b""[..]));
        assert_eq!(ImagePath::root().parent(), None);
    }

    #[test]
    fn a_message_carries_no_escape_sequence() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\\u{1b}[2Jb\u{fffd}");
    }
}
