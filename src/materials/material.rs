//! One input of an image.

use carafe_builder::git::CommitId;
use carafe_layers::digest::Digest;
use serde::Serialize;

/// One input of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Material {
    /// The kind of input.
    pub kind: Kind,
    /// The name; for a package, the name in its metadata.
    pub name: String,
    /// The version: for a package, the version in its metadata; for an app, its branch or tag.
    pub version: Option<String>,
    /// The public URL, never that of a mirror, without credentials.
    pub source: String,
    /// The commit, for inputs from git.
    pub commit: Option<CommitId>,
    /// The digest: of an image, that of its manifest or index; of a response, that of its body; of an
    /// app, that of its pack in a bundle.
    pub digest: Option<Digest>,
    /// The size in bytes: of an image, that of its layers in a bundle; of a response, that of its body;
    /// of an app, that of its pack.
    pub size: Option<u64>,
    /// The license as the input itself states it: an SPDX expression or free text.
    pub license: Option<String>,
}

/// The kind of a material.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Frappe or an app, by commit.
    App,
    /// The build image or the base image.
    Image,
    /// A Python package: a wheel or an sdist.
    Python,
    /// A Node package.
    Node,
    /// A git repository that was cloned while bench ran.
    Git,
    /// Any other downloaded file.
    File,
    /// A response that is not an input itself: an index, a redirect, an error.
    Metadata,
}

impl Kind {
    /// The name in the JSON form.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Image => "image",
            Self::Python => "python",
            Self::Node => "node",
            Self::Git => "git",
            Self::File => "file",
            Self::Metadata => "metadata",
        }
    }
}
