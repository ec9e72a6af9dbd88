//! Two images → what differs: first in Frappe's terms, then in those of layers and entries.

pub mod distance;
mod inventory;
pub mod report;

use std::collections::BTreeSet;
use std::sync::Arc;

use carafe_builder::git::{Distance, RefKind};
use carafe_builder::lock::{Lock, LockError, LockedApp, LockedImage, LockedSource};
use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::diff::{DuplicateBlobs, ImageContents, ImagePair, LayerReader, Side, Trees, limits};
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};
use carafe_layers::unpack::UnpackError;
use serde::Serialize;

use self::inventory::{Inventory, NOTES, Versions};
use crate::build::assemble::LOCK_LABEL;
use crate::context::Context;
use crate::images::ImageName;

pub(crate) use self::inventory::node_package;

/// An image that is compared.
pub struct Opened {
    /// Has the blobs.
    pub source: Arc<dyn ImageSource>,
    /// The documents, verified.
    pub image: ResolvedImage,
    /// The lock in its label, if it has one.
    pub lock: Option<Lock>,
}

/// Why an image could not be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OpenError {
    /// It could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Source(#[from] SourceError),
    /// Its label holds something else than a lock that we know.
    #[error("failed to read the label `{LOCK_LABEL}` of {image}")]
    #[diagnostic(help("the label was changed after the build, or a newer carafe wrote it"))]
    Lock {
        /// The source's name.
        image: String,
        /// Why.
        #[source]
        #[diagnostic_source]
        source: LockError,
    },
}

impl Opened {
    /// Reads an image's documents.
    pub fn open(name: &ImageName, context: &Context) -> Result<Self, OpenError> {
        Self::of(name.open(&context.registry, None)?, &context.platform)
    }

    /// Reads the documents of an image whose source is at hand.
    pub fn of(source: Arc<dyn ImageSource>, platform: &Platform) -> Result<Self, OpenError> {
        let image = resolve(&*source, platform)?;
        let label = image.config.config.labels.as_ref().and_then(|labels| labels.get(LOCK_LABEL));
        let lock = label.map(|text| Lock::parse(LOCK_LABEL, text)).transpose();
        let lock = lock.map_err(|error| OpenError::Lock { image: source.name(), source: error })?;
        Ok(Self { source, image, lock })
    }

    /// For the comparison.
    pub fn side(&self) -> Side<'_> {
        Side { source: &*self.source, image: &self.image }
    }
}

/// Reads images one after the other, with what [`frappe_changes`] wants to know noted.
pub fn reading<'a>() -> LayerReader<'a> {
    LayerReader::new(&limits(), &NOTES)
}

/// Reads and verifies all layers of an image; `repeated` is about those that one before it had.
pub fn read<'a>(
    image: &'a Opened,
    reading: &mut LayerReader<'a>,
    repeated: DuplicateBlobs,
    progress: &Progress,
) -> Result<ImageContents<'a>, UnpackError> {
    let side = image.side();
    let task = progress.task(Stage::Fetch, "layers", Some(side.bytes()), Unit::Bytes);
    let done = std::cell::Cell::new(0);
    let advance = |bytes: u64| task.advance(bytes.saturating_sub(done.replace(bytes)));
    let contents = reading.read(side, repeated, &advance)?;
    task.finish(format!("read and verified: {}", image.source.name()));
    Ok(contents)
}

/// Reads and verifies all layers of both.
pub fn read_both<'a>(
    want: &'a Opened,
    got: &'a Opened,
    progress: &Progress,
) -> Result<ImagePair<'a>, UnpackError> {
    let mut reading = reading();
    let want = read(want, &mut reading, DuplicateBlobs::Verify, progress)?;
    Ok(ImagePair::of(want, read(got, &mut reading, DuplicateBlobs::Verify, progress)?))
}

/// Something with a name and a version that is not the same in both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NameChange {
    /// What it is called.
    pub name: String,
    /// In the first image, if it is there.
    pub want: Option<String>,
    /// In the second image, if it is there.
    pub got: Option<String>,
}

/// An app that is not the same in both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AppChange {
    /// Its name, and both commits.
    #[serde(flatten)]
    pub change: NameChange,
    /// How far they are apart, where somebody asked for it and it is known.
    pub distance: Option<Distance>,
}

/// What differs, as someone who runs Frappe would say it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FrappeChanges {
    /// Base image, build image, record, tools and variables, where both images have a lock.
    pub inputs: Vec<NameChange>,
    /// Apps and their commits, of the locks where the images have two; else as bench noted them.
    pub apps: Vec<AppChange>,
    /// Python packages in `env`.
    pub python_packages: Vec<NameChange>,
    /// Packages in the apps' node_modules.
    pub node_packages: Vec<NameChange>,
    /// Bundles, by their name without the hash.
    pub assets: Vec<NameChange>,
    /// `hooks.py` and `patches.txt` of the apps.
    pub hooks_and_patches: Vec<NameChange>,
}

/// Says in Frappe's terms what differs.
pub fn frappe_changes(want: &Opened, got: &Opened, trees: &Trees<'_>) -> FrappeChanges {
    let [wants, gots] = trees.files().map(|files| Inventory::of(&files));
    let (inputs, apps) = match (&want.lock, &got.lock) {
        (Some(want), Some(got)) if want.apps == got.apps => {
            (changes(&inputs(want), &inputs(got)), changes(&wants.apps, &gots.apps))
        }
        (Some(want), Some(got)) => {
            (changes(&inputs(want), &inputs(got)), changes(&locked_apps(want), &locked_apps(got)))
        }
        _ => (Vec::new(), changes(&wants.apps, &gots.apps)),
    };
    let apps = apps.into_iter().map(|change| AppChange { change, distance: None }).collect();
    FrappeChanges {
        inputs,
        apps,
        python_packages: changes(&wants.python, &gots.python),
        node_packages: changes(&wants.node, &gots.node),
        assets: changes(&wants.assets, &gots.assets),
        hooks_and_patches: changes(&wants.hooks, &gots.hooks),
    }
}

fn changes(want: &Versions, got: &Versions) -> Vec<NameChange> {
    let joined = |versions: &Versions, name: &String| {
        versions.get(name).map(|set| set.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let names = want.keys().chain(got.keys()).collect::<BTreeSet<_>>().into_iter();
    let names = names.filter(|name| want.get(*name) != got.get(*name));
    names
        .map(|name| NameChange { name: name.clone(), want: joined(want, name), got: joined(got, name) })
        .collect()
}

fn inputs(lock: &Lock) -> Versions {
    let image = |image: &LockedImage| format!("{}@{}", image.reference, image.digest);
    let images = [("base image", image(&lock.base_image)), ("build image", image(&lock.build_image))];
    let images = images.into_iter().map(|(name, value)| (name.to_owned(), value));
    let tools = lock.tools.iter().map(|(name, version)| (format!("tool {name}"), version.clone()));
    let env = lock.env.iter().map(|(name, value)| (format!("variable {name}"), value.clone()));
    let record = lock.record.map(|digest| ("record".to_owned(), digest.to_string()));
    images
        .chain(tools)
        .chain(env)
        .chain(record)
        .map(|(name, value)| (name, BTreeSet::from([value])))
        .collect()
}

fn locked_apps(lock: &Lock) -> Versions {
    let version = |app: &LockedApp| match &app.source {
        LockedSource::Git { reference: Some((RefKind::Branch, name)), .. } => {
            format!("branch {name} at {}", app.commit)
        }
        LockedSource::Git { reference: Some((RefKind::Tag, name)), .. } => {
            format!("tag {name} at {}", app.commit)
        }
        LockedSource::Git { .. } => app.commit.to_string(),
        LockedSource::Local { path } => format!("directory {path} at {}", app.commit),
    };
    lock.apps.iter().map(|app| (app.name.clone(), BTreeSet::from([version(app)]))).collect()
}
