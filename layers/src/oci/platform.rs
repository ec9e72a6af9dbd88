//! The platform of an image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::escape;

/// Operating system and architecture with Go's names, such as `linux/amd64` or `linux/arm64/v8`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Platform {
    /// `GOARCH`.
    pub architecture: String,
    /// `GOOS`.
    pub os: String,
    /// CPU variant, such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// All other members, kept as they are.
    #[serde(flatten)]
    pub extra: BTreeMap<String, PlatformExtra>,
}

/// A member of a platform that Carafe does not interpret (`os.version`, `os.features`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlatformExtra {
    /// A string.
    Text(String),
    /// A list of strings.
    List(Vec<String>),
}

impl Platform {
    /// `linux` on the architecture for which this program was compiled.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: None,
            extra: BTreeMap::new(),
        }
    }

    /// Whether an image for `self` runs on `wanted`: the same OS and architecture, and the same
    /// variant if `wanted` names one.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

/// A string that is not a platform.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to parse platform `{text}`: expected `os/architecture` or `os/architecture/variant`")]
#[diagnostic(help("write it as `linux/amd64` or `linux/arm64/v8`"))]
pub struct ParsePlatformError {
    text: String,
}

impl std::str::FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, ParsePlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            (1..=32).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let variant = match parts.as_slice() {
            _ if !parts.iter().all(is_word) => Err(()),
            [_, _] => Ok(None),
            [_, _, variant] => Ok(Some((*variant).to_owned())),
            _ => Err(()),
        };
        let variant = variant.map_err(|()| ParsePlatformError { text: escape(text) })?;
        let (os, architecture) = (parts[0].to_owned(), parts[1].to_owned());
        Ok(Self { architecture, os, variant, extra: BTreeMap::new() })
    }
}

/// For messages: an untrusted index may contain anything, so see [`escape`].
impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.os, &self.architecture].into_iter().chain(&self.variant);
        let parts: Vec<_> = parts.map(|part| escape(part)).collect();
        f.write_str(&parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_display_form() {
        for text in ["linux/amd64", "linux/arm64/v8"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        let odd = Platform { os: "\u{1b}[31m".to_owned(), ..Platform::host() };
        assert!(!odd.to_string().contains('\u{1b}'), "{odd}");
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux/\u{1b}[31m"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_platform_without_a_variant_accepts_every_variant() {
        let any = Platform::host();
        let v8 = Platform { variant: Some("v8".into()), ..Platform::host() };
        assert!(v8.satisfies(&any));
        assert!(!any.satisfies(&v8));
    }
}
