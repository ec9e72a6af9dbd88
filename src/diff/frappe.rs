//! What differs between two images in Frappe's terms: apps, packages, assets, hooks.

use std::collections::BTreeSet;

use carafe_builder::git::{Distance, RefKind};
use carafe_builder::lock::{Lock, LockedApp, LockedImage, LockedSource};
use carafe_layers::diff::Trees;
use serde::Serialize;

use super::inventory::{Inventory, Versions};
use super::opened::Opened;

/// A name whose version differs between the two images.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NameChange {
    /// The name of an input, a package, a file.
    pub name: String,
    /// The version in the first image, if that has it.
    pub want: Option<String>,
    /// The version in the second image, if that has it.
    pub got: Option<String>,
}

/// An app whose commit differs between the two images.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AppChange {
    /// Its name, and both commits.
    #[serde(flatten)]
    pub change: NameChange,
    /// How many commits are between them, if that was requested and could be determined.
    pub distance: Option<Distance>,
}

/// What differs in Frappe's terms.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FrappeChanges {
    /// Base image, build image, recording, tools and environment variables, if both images have a lock.
    pub inputs: Vec<NameChange>,
    /// Apps and their commits: of the locks if both images have one and these differ, otherwise as
    /// bench stored them in `sites/apps.json`.
    pub apps: Vec<AppChange>,
    /// Python packages in `env`.
    pub python_packages: Vec<NameChange>,
    /// Packages in the apps' `node_modules`.
    pub node_packages: Vec<NameChange>,
    /// Asset bundles, by their name without the hash.
    pub assets: Vec<NameChange>,
    /// `hooks.py` and `patches.txt` of the apps.
    pub hooks_and_patches: Vec<NameChange>,
}

/// Compares two images in Frappe's terms.
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
    let recording = lock.recording.map(|digest| ("recording".to_owned(), digest.to_string()));
    images
        .chain(tools)
        .chain(env)
        .chain(recording)
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
