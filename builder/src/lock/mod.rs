//! The lock: one file that pins every name a build depends on.
//!
//! It is plain TOML, written by [`Lock::to_toml`] alone: fixed order, no time, no path of the
//! machine, no credential. The same pins always give the same bytes.

mod app;
mod pin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carafe_layers::digest::Digest;
use carafe_layers::format::FormatVersion;
use carafe_layers::text::escape_bytes;
use serde::{Deserialize, Serialize};

use crate::atomic_write::atomic_write;
use crate::spec::{AppSource, AppSpec, Spec};

pub use app::{LockedApp, LockedSource};
pub use pin::{MAX_PARALLEL_FETCHES, PinnedApp, UnpinnedPolicy, fetch, pin};

/// The version of the lock file itself, as apart from the format-version of the image's bytes.
pub const LOCK_VERSION: u32 = 1;

/// A lock larger than this is refused before it is parsed.
pub const MAX_LOCK_BYTES: u64 = 1 << 20;

const HEADING: &str = "# Written by `carafe lock`. Commit it beside the spec; do not edit it by hand.\n";

/// Everything a build depends on, pinned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_VERSION`].
    pub version: u32,
    /// Which rules turn the tree into bytes.
    pub format_version: FormatVersion,
    /// The checksum of the spec that this lock was made from.
    pub spec: Digest,
    /// The newest commit time of the apps, seconds since 1970: the image's time of creation.
    pub source_date_epoch: i64,
    /// The digest of the record of what bench downloads, once a build has written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Digest>,
    /// Where bench runs.
    pub build_image: LockedImage,
    /// What the image stands on.
    pub base_image: LockedImage,
    /// Versions of the tools in the build image, by name.
    pub tools: BTreeMap<String, String>,
    /// Environment variables that the spec gives to bench, such as `UV_EXCLUDE_NEWER`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Frappe first, then the apps in the order of the spec, which is the order of installation.
    #[serde(rename = "app")]
    pub apps: Vec<LockedApp>,
}

/// An image by digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedImage {
    /// As the spec names it.
    pub reference: String,
    /// What the name pointed at: an index, or a manifest.
    pub digest: Digest,
}

/// Why a lock could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LockError {
    /// A file operation failed.
    #[error("failed to {verb} `{path}`")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a lock.
    #[error("failed to parse `{path}`")]
    #[diagnostic(help("`carafe lock` writes it anew"))]
    Parse {
        /// The lock file.
        path: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It was written by a newer Carafe, or is larger than a lock can be.
    #[error("failed to read `{path}`: {reason}")]
    #[diagnostic(help("use the carafe that wrote it, or write it anew with `carafe lock`"))]
    Unusable {
        /// The lock file.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl Lock {
    /// The bytes of the lock file.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("a lock holds nothing that TOML cannot");
        format!("{HEADING}{body}")
    }

    /// Parses a lock, which may come from a stranger: no string in it has a control character.
    /// `name` is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self, LockError> {
        let unusable = |reason: String| LockError::Unusable { path: name.to_owned(), reason };
        if text.len() as u64 > MAX_LOCK_BYTES {
            return Err(unusable(format!("it has more than {MAX_LOCK_BYTES} bytes")));
        }
        // A parser's error quotes the line that it is about.
        if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(unusable("there is a control character in it".to_owned()));
        }
        let parse_error = |source| LockError::Parse { path: name.to_owned(), source: Box::new(source) };
        let versions: Versions = toml::from_str(text).map_err(parse_error)?;
        if versions.version != LOCK_VERSION {
            let reason = format!("its version is {}, this carafe knows {LOCK_VERSION}", versions.version);
            return Err(unusable(reason));
        }
        let table: toml::Table = toml::from_str(text).map_err(parse_error)?;
        if let Some(key) = with_control_character(&table) {
            let key = escape_bytes(key.as_bytes());
            return Err(unusable(format!("there is a control character in `{key}`")));
        }
        toml::from_str(text).map_err(parse_error)
    }

    /// Reads the lock at `path`, or nothing if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Io { verb: "read", path: path.to_owned(), source }),
        }
    }

    /// Writes the lock at `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        atomic_write(path, self.to_toml().as_bytes()).map_err(|source| LockError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Whether it was made from `spec` and is whole in itself: the checksum, the environment and
    /// the images that the spec names, an app for each of the spec's under the name that it gives,
    /// and the time that the apps' times make. What only a fetch can tell (commit, tree, name,
    /// time) [`fetch`] checks.
    pub fn fits(&self, spec: &Spec) -> bool {
        let named = |(app, locked): (&AppSpec, &LockedApp)| match &app.source {
            AppSource::Git { name, .. } => locked.reference().map(|(_, name)| name) == name.as_ref(),
            AppSource::Local { .. } => true,
        };
        self.spec == spec.checksum()
            && self.env == spec.env
            && self.build_image.reference == spec.build_image.reference
            && self.base_image.reference == spec.base_image.reference
            && self.apps.len() == spec.apps.len()
            && spec.apps.iter().zip(&self.apps).all(named)
            && self.source_date_epoch == newest(self.apps.iter())
    }

    /// The digest of the lock's bytes: two builds of one lock share what was downloaded for it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }
}

/// The newest of the apps' times: what dates an image.
pub fn newest<'a>(apps: impl Iterator<Item = &'a LockedApp>) -> i64 {
    apps.map(|app| app.time).max().unwrap_or_default()
}

/// The first key with one in it or in its value.
fn with_control_character(table: &toml::Table) -> Option<&str> {
    fn has(value: &toml::Value) -> bool {
        match value {
            toml::Value::String(text) => text.contains(char::is_control),
            toml::Value::Array(values) => values.iter().any(has),
            toml::Value::Table(table) => with_control_character(table).is_some(),
            _ => false,
        }
    }
    table
        .iter()
        .find(|(key, value)| key.contains(char::is_control) || has(value))
        .map(|(key, _)| key.as_str())
}

/// Read first, so that a lock from the future is told apart from a broken one.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Versions {
    version: u32,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::git::RefKind;

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
            record: None,
            build_image: image("docker.io/frappe/build:version-15"),
            base_image: image("docker.io/frappe/base:version-15"),
            tools: BTreeMap::from([("bench".into(), "5.31.1".into())]),
            env: BTreeMap::from([("UV_EXCLUDE_NEWER".into(), "2026-01-31T00:00:00Z".into())]),
            apps: vec![app("frappe", git), app("local", LockedSource::Local { path: "apps/local".into() })],
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let lock = sample();
        assert_eq!(Lock::parse("carafe.lock", &lock.to_toml()).unwrap(), lock);
    }

    #[test]
    fn its_bytes_are_these() {
        insta::assert_snapshot!(sample().to_toml());
    }

    #[test]
    fn one_from_the_future_is_named_as_such() {
        let text = sample().to_toml();
        let newer = text.replacen("version = 1\n", "version = 2\n", 1);
        let error = Lock::parse("carafe.lock", &newer).unwrap_err();
        assert!(matches!(error, LockError::Unusable { .. }), "{error:?}");
        let format = text.replacen("format-version = 1\n", "format-version = 9\n", 1);
        assert!(matches!(Lock::parse("carafe.lock", &format).unwrap_err(), LockError::Parse { .. }));
    }

    #[test]
    fn a_name_that_leads_out_of_its_directory_is_refused() {
        let text = sample().to_toml();
        for name in ["../x", "/tmp/x", "a/b", "", "-x", ".."] {
            let edited = text.replace("name = \"local\"", &format!("name = \"{name}\""));
            assert!(matches!(Lock::parse("carafe.lock", &edited), Err(LockError::Parse { .. })), "{name}");
        }
    }

    /// A stranger's lock is shown by diff, verify, inspect and the list of a bundle.
    #[test]
    fn what_a_terminal_would_obey_is_refused() {
        let text = sample().to_toml();
        for (plain, odd) in [
            ("docker.io/frappe/base:version-15", "base\\u001b[2J"),
            ("\"5.31.1\"", "\"5\\n\""),
            ("UV_EXCLUDE_NEWER =", "\"A\\u009bB\" ="),
            ("https://github.com/frappe/frappe", "https://a\\u0007"),
            ("apps/local", "a\\tb"),
        ] {
            assert!(text.contains(plain), "{plain}");
            let error = Lock::parse("carafe.lock", &text.replace(plain, odd)).unwrap_err();
            assert!(matches!(error, LockError::Unusable { .. }), "{error:?}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
        let raw = Lock::parse("carafe.lock", &format!("{text}\u{1b}[2J =\n")).unwrap_err();
        assert!(matches!(raw, LockError::Unusable { .. }), "{raw:?}");
    }

    #[test]
    fn writing_replaces_it_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("carafe.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        sample().write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), Some(sample()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
