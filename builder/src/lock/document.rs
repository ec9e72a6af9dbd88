//! The content of the lock file.
//!
//! The file is TOML and only written by [`Lock::to_toml`]: in a fixed order, without times, absolute paths and
//! credentials. Equal pins give equal bytes. A label of the image has the same text, so its keys and its heading
//! determine image bytes.

use std::collections::BTreeMap;
use std::path::Path;

use carafe_layers::digest::Digest;
use carafe_layers::format::FormatVersion;
use carafe_layers::text::escape_bytes;
use serde::{Deserialize, Serialize};

use super::app::LockedApp;
use super::error::LockError;
use crate::atomic_write::atomic_write;
use crate::spec::{AppSource, AppSpec, Spec};

/// The version of the lock file. It is independent of the format version, which is about image bytes.
pub const LOCK_VERSION: u32 = 1;

/// Maximum size of a lock, in bytes. A larger one is rejected before it is parsed.
pub const MAX_LOCK_BYTES: u64 = 1 << 20;

const HEADING: &str = "# Written by `carafe lock`. Commit it beside the spec; do not edit it by hand.\n";

/// Every input that determines image bytes, pinned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_VERSION`].
    pub version: u32,
    /// The rules by which the tree becomes image bytes.
    pub format_version: FormatVersion,
    /// The checksum of the spec that this lock was made from ([`Spec::checksum`]).
    pub spec: Digest,
    /// The newest commit time of the apps, in seconds since 1970: the creation time of the image.
    pub source_date_epoch: i64,
    /// The digest of the recording, after a build has made one.
    #[serde(rename = "record", default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Digest>,
    /// The image that contains bench.
    pub build_image: LockedImage,
    /// The image whose layers are below Carafe's.
    pub base_image: LockedImage,
    /// Versions of the tools in the build image, by name.
    pub tools: BTreeMap<String, String>,
    /// Environment variables for bench from the spec, such as `UV_EXCLUDE_NEWER`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Frappe first, then the apps in the order of the spec, which is the order of their installation.
    #[serde(rename = "app")]
    pub apps: Vec<LockedApp>,
}

/// An image, pinned to a digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedImage {
    /// The reference as written in the spec.
    pub reference: String,
    /// The digest of the index or manifest that the reference was resolved to.
    pub digest: Digest,
}

impl Lock {
    /// The content of the lock file.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("TOML can represent every lock");
        format!("{HEADING}{body}")
    }

    /// Parses a lock. `name` is its name in messages.
    ///
    /// The text is not trusted: it may be in an image or a pull request. A control character in any key or value
    /// is an error, so all of them can be shown in a terminal.
    pub fn parse(name: &str, text: &str) -> Result<Self, LockError> {
        let unusable = |reason: String| LockError::Unusable { path: name.to_owned(), reason };
        if text.len() as u64 > MAX_LOCK_BYTES {
            return Err(unusable("it is larger than 1 MiB".to_owned()));
        }
        // Checked before parsing, because the parser's errors quote the text.
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(unusable("it has a control character".to_owned()));
        }
        let parse_error = |source| LockError::Parse { path: name.to_owned(), source: Box::new(source) };
        let versions: Versions = toml::from_str(text).map_err(parse_error)?;
        if versions.version != LOCK_VERSION {
            let reason = format!(
                "its version is {}, this version of carafe supports {LOCK_VERSION}",
                versions.version
            );
            return Err(unusable(reason));
        }
        let table: toml::Table = toml::from_str(text).map_err(parse_error)?;
        if let Some(key) = find_control_character(&table) {
            let key = escape_bytes(key.as_bytes());
            return Err(unusable(format!("it has a control character in `{key}`")));
        }
        toml::from_str(text).map_err(parse_error)
    }

    /// Reads the lock at `path`. `None` if the file does not exist.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Io { verb: "read", path: path.to_owned(), source }),
        }
    }

    /// Writes the lock to `path`, atomically.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        atomic_write(path, self.to_toml().as_bytes()).map_err(|source| LockError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Returns whether the lock was made from `spec` and is consistent: it must have the spec's checksum,
    /// environment and image references, an app with the same ref for each app of the spec, and the newest time
    /// of its apps. [`fetch`](super::fetch) checks what depends on the repositories: commit, tree, name and time.
    pub fn matches(&self, spec: &Spec) -> bool {
        let has_ref = |(app, locked): (&AppSpec, &LockedApp)| match &app.source {
            AppSource::Git { name, .. } => locked.reference().map(|(_, name)| name) == name.as_ref(),
            AppSource::Local { .. } => true,
        };
        self.spec == spec.checksum()
            && self.env == spec.env
            && self.build_image.reference == spec.build_image.reference
            && self.base_image.reference == spec.base_image.reference
            && self.apps.len() == spec.apps.len()
            && spec.apps.iter().zip(&self.apps).all(has_ref)
            && self.source_date_epoch == newest(self.apps.iter())
    }

    /// The digest of the content of the lock file.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }
}

/// The newest commit time of the apps, in seconds since 1970. 0 if there are no apps.
pub fn newest<'a>(apps: impl Iterator<Item = &'a LockedApp>) -> i64 {
    apps.map(|app| app.time).max().unwrap_or_default()
}

/// The first key that has a control character, or whose value has one.
fn find_control_character(table: &toml::Table) -> Option<&str> {
    fn has(value: &toml::Value) -> bool {
        match value {
            toml::Value::String(text) => text.contains(char::is_control),
            toml::Value::Array(values) => values.iter().any(has),
            toml::Value::Table(table) => find_control_character(table).is_some(),
            _ => false,
        }
    }
    table
        .iter()
        .find(|(key, value)| key.contains(char::is_control) || has(value))
        .map(|(key, _)| key.as_str())
}

/// Parsed first, to distinguish a lock of a newer version from a broken one.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Versions {
    version: u32,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::git::RefKind;
    use crate::lock::app::LockedSource;

    pub(crate) fn sample() -> Lock {
        let image = |name: &str| LockedImage { reference: name.into(), digest: Digest::of(name.as_bytes()) };
        let app = |name: &str, source| LockedApp {
            name: name.into(),
            source,
            commit: "0123456789012345678901234567890123456789".parse().unwrap(),
            tree: "abcdefabcdefabcdefabcdefabcdefabcdefabcd".parse().unwrap(),
            time: 1_700_000_000,
        };
        let git = LockedSource::Git {
            url: "https://github.com/frappe/frappe".into(),
            reference: Some((RefKind::Tag, "v15.55.1".into())),
        };
        Lock {
            version: LOCK_VERSION,
            format_version: FormatVersion::CURRENT,
            spec: Digest::of(b"spec"),
            source_date_epoch: 1_700_000_000,
            recording: None,
            build_image: image("docker.io/frappe/build:version-15"),
            base_image: image("docker.io/frappe/base:version-15"),
            tools: BTreeMap::from([("bench".into(), "5.31.1".into())]),
            env: BTreeMap::from([("UV_EXCLUDE_NEWER".into(), "2026-01-31T00:00:00Z".into())]),
            apps: vec![app("frappe", git), app("local", LockedSource::Local { path: "apps/local".into() })],
        }
    }

    #[test]
    fn parses_what_it_writes() {
        let lock = sample();
        assert_eq!(Lock::parse("carafe.lock", &lock.to_toml()).unwrap(), lock);
    }

    #[test]
    fn has_exactly_these_bytes() {
        insta::assert_snapshot!(sample().to_toml());
    }

    #[test]
    fn distinguishes_a_newer_version_from_a_broken_lock() {
        let text = sample().to_toml();
        let newer = text.replacen("version = 1\n", "version = 2\n", 1);
        let error = Lock::parse("carafe.lock", &newer).unwrap_err();
        assert!(matches!(error, LockError::Unusable { .. }), "{error:?}");
        let format = text.replacen("format-version = 1\n", "format-version = 9\n", 1);
        assert!(matches!(Lock::parse("carafe.lock", &format).unwrap_err(), LockError::Parse { .. }));
    }

    #[test]
    fn rejects_a_name_with_a_path() {
        let text = sample().to_toml();
        for name in ["../x", "/tmp/x", "a/b", "", "-x", ".."] {
            let edited = text.replace("name = \"local\"", &format!("name = \"{name}\""));
            assert!(matches!(Lock::parse("carafe.lock", &edited), Err(LockError::Parse { .. })), "{name}");
        }
    }

    /// diff, verify, inspect and bundle show locks that are not trusted.
    #[test]
    fn rejects_control_characters() {
        let text = sample().to_toml();
        for (plain, escaped) in [
            ("docker.io/frappe/base:version-15", "base\\u001b[2J"),
            ("\"5.31.1\"", "\"5\\n\""),
            ("UV_EXCLUDE_NEWER =", "\"A\\u009bB\" ="),
            ("https://github.com/frappe/frappe", "https://a\\u0007"),
            ("apps/local", "a\\tb"),
        ] {
            assert!(text.contains(plain), "{plain}");
            let error = Lock::parse("carafe.lock", &text.replace(plain, escaped)).unwrap_err();
            assert!(matches!(error, LockError::Unusable { .. }), "{error:?}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
        let raw = Lock::parse("carafe.lock", &format!("{text}\u{1b}[2J =\n")).unwrap_err();
        assert!(matches!(raw, LockError::Unusable { .. }), "{raw:?}");
    }

    #[test]
    fn writes_and_reads_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("carafe.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        sample().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), Some(sample()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
