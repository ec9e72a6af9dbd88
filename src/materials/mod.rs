//! Materials: what went into an image, as data. For `carafe bundle --list`, and for whoever writes
//! a bill of materials or a provenance of it.
//!
//! The lock names the apps and the images, its record every byte that bench was answered with.
//! Name, version and licence of a package are read from the package itself.

mod archive;
mod package;
pub mod report;

use std::fs::File;

use carafe_builder::egress::{Method, RecordedRequest, RecordedResponse, Recording};
use carafe_builder::git::{self, CommitId};
use carafe_builder::lock::{Lock, LockedApp, LockedImage, LockedSource};
use carafe_layers::digest::Digest;
use carafe_layers::path::printable;
use serde::Serialize;

use crate::parallel;

/// BodyStore that are looked into at the same time.
const MAX_PARALLEL: usize = 4;
/// The version of the JSON form: members are added to it, not changed.
const VERSION: u32 = 1;

/// What went into an image. Its JSON form is stable: the same lock and record always give the same
/// list, in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Materials {
    version: u32,
    /// The digest of the lock.
    pub lock: Digest,
    /// The digest of the record.
    pub record: Option<Digest>,
    /// The apps in the order of the lock, the images, then the answers by their addresses.
    pub materials: Vec<Material>,
}

/// One thing that went into an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Material {
    /// What it is.
    pub kind: Kind,
    /// By which it is known: a package's own name.
    pub name: String,
    /// Its version: a package's own; an app's branch or tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it comes from: the public address, never a mirror's, without credentials.
    pub source: String,
    /// The commit, of what comes from git.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// The digest: of an image its manifest's or index's, of an answer its body's, of an app its
    /// pack's in a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Bytes: of an image its layers in a bundle, of an answer its body, of an app its pack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// As the thing itself says: an SPDX expression at best, free words at worst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

/// What a material is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Frappe or an app, by commit.
    App,
    /// The build image or the base image.
    Image,
    /// A python package: a wheel or an sdist.
    Python,
    /// A node package.
    Node,
    /// What was cloned from git while bench ran.
    Git,
    /// A file that is none of these.
    File,
    /// What clients ask on their way: indexes, redirects, what is not there.
    Metadata,
}

impl Kind {
    /// As in the JSON form.
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

/// Where bodies and an app's files are looked into.
pub trait MaterialSource: Sync {
    /// A body, if it is at hand.
    fn body(&self, digest: &Digest) -> Option<File>;

    /// The text of an app's `hooks.py`, if the commit is at hand.
    fn hooks(&self, app: &LockedApp) -> Option<String>;

    /// The digest and size of an app's pack, if there is one.
    fn pack(&self, app: &LockedApp) -> Option<(Digest, u64)>;

    /// The bytes of an image's layers, if they are known.
    fn image_size(&self, image: &LockedImage) -> Option<u64>;
}

impl Materials {
    /// Lists everything. What is not at hand on `shelf` is in the list too, with what the lock and
    /// the addresses say of it.
    pub fn list(lock: &Lock, record: &Recording, shelf: &dyn MaterialSource) -> Self {
        let mut materials: Vec<Material> = lock.apps.iter().map(|locked| app(locked, shelf)).collect();
        materials.extend([&lock.build_image, &lock.base_image].map(|locked| image(locked, shelf)));
        let answers: Vec<(&RecordedRequest, &RecordedResponse)> = record.entries().collect();
        let listed = parallel::map(answers, MAX_PARALLEL, |(request, answer)| {
            Ok::<_, std::convert::Infallible>(answered(request, answer, shelf))
        });
        materials.extend(listed.unwrap_or_default());
        Self::of(lock.digest(), lock.record, materials)
    }

    pub(crate) fn of(lock: Digest, record: Option<Digest>, materials: Vec<Material>) -> Self {
        Self { version: VERSION, lock, record, materials }
    }
}

fn app(locked: &LockedApp, shelf: &dyn MaterialSource) -> Material {
    let source = match &locked.source {
        LockedSource::Git { url, .. } => url.clone(),
        LockedSource::Local { path } => path.clone(),
    };
    let pack = shelf.pack(locked);
    Material {
        kind: Kind::App,
        name: locked.name.clone(),
        version: locked.reference().map(|(_, name)| name.clone()),
        source,
        commit: Some(locked.commit.clone()),
        digest: pack.map(|(digest, _)| digest),
        size: pack.map(|(_, size)| size),
        license: shelf.hooks(locked).as_deref().and_then(package::app_license),
    }
}

fn image(locked: &LockedImage, shelf: &dyn MaterialSource) -> Material {
    Material {
        kind: Kind::Image,
        name: locked.reference.clone(),
        version: None,
        source: locked.reference.clone(),
        commit: None,
        digest: Some(locked.digest),
        size: shelf.image_size(locked),
        license: None,
    }
}

fn answered(request: &RecordedRequest, answer: &RecordedResponse, shelf: &dyn MaterialSource) -> Material {
    let mut material = Material {
        kind: Kind::Metadata,
        name: request.url.file_name().to_owned(),
        version: None,
        source: request.url.to_string(),
        commit: None,
        digest: Some(answer.body),
        size: Some(answer.size),
        license: None,
    };
    if answer.status != 200 {
        return material;
    }
    if request.method == Method::Post {
        cloned(&mut material, request, answer, shelf);
        return material;
    }
    let Some(guess) = package::Guess::of(&request.url) else { return material };
    let found = shelf.body(&answer.body).and_then(|body| archive::look_into(&guess, body));
    let found = found.unwrap_or_default();
    material.kind = found.kind.unwrap_or(guess.kind);
    material.name = shown(found.name.or(guess.name).unwrap_or(material.name));
    material.version = found.version.or(guess.version).map(shown);
    material.license = found.license.map(shown);
    material
}

/// What git was answered, if it is a commit with its files.
fn cloned(
    material: &mut Material,
    request: &RecordedRequest,
    answer: &RecordedResponse,
    shelf: &dyn MaterialSource,
) {
    let path = request.url.as_url().path();
    let Some(repository) = path.strip_suffix("/git-upload-pack") else { return };
    let Some(commit) = shelf.body(&answer.body).and_then(git::first_commit) else { return };
    let name = repository.rsplit('/').next().unwrap_or_default();
    material.kind = Kind::Git;
    material.name = name.strip_suffix(".git").unwrap_or(name).to_owned();
    material.source = request.url.as_str().trim_end_matches("/git-upload-pack").to_owned();
    material.commit = Some(commit);
}

/// What strangers wrote, for a terminal: no control characters, no novels.
fn shown(text: String) -> String {
    const MAX_TEXT_CHARS: usize = 200;
    printable(text.chars().take(MAX_TEXT_CHARS).collect::<String>().as_bytes())
}
