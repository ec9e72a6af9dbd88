//! Two images → what differs: first in Frappe's terms, then in those of layers and entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carafe_builder::git::{Distance, RefKind};
use carafe_builder::lock::{Lock, LockError, LockedApp, LockedImage, LockedSource};
use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::diff::{Contents, Item, Notes, Pair, Reading, Side, limits};
use carafe_layers::oci::Platform;
use carafe_layers::path::printable;
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};
use carafe_layers::unpack::UnpackError;
use serde::{Deserialize, Serialize};

use super::assemble::LOCK_LABEL;
use crate::context::Context;
use crate::images::ImageName;

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
pub fn reading<'a>() -> Reading<'a> {
    Reading::new(&limits(), &NOTES)
}

/// Reads and verifies all layers of an image.
pub fn read<'a>(
    image: &'a Opened,
    reading: &mut Reading<'a>,
    progress: &Progress,
) -> Result<Contents<'a>, UnpackError> {
    let side = image.side();
    let task = progress.task(Stage::Fetch, "layers", Some(side.bytes()), Unit::Bytes);
    let done = std::cell::Cell::new(0);
    let advance = |bytes: u64| task.advance(bytes.saturating_sub(done.replace(bytes)));
    let contents = reading.image(side, &advance)?;
    task.finish(format!("read and verified: {}", image.source.name()));
    Ok(contents)
}

/// Reads and verifies all layers of both.
pub fn read_both<'a>(
    want: &'a Opened,
    got: &'a Opened,
    progress: &Progress,
) -> Result<Pair<'a>, UnpackError> {
    let mut reading = reading();
    let want = read(want, &mut reading, progress)?;
    Ok(Pair::of(want, read(got, &mut reading, progress)?))
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
pub fn frappe_changes(want: &Opened, got: &Opened, pair: &Pair<'_>) -> Result<FrappeChanges, UnpackError> {
    let [wants, gots] = pair.files()?.map(|files| Inventory::of(&files));
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
    Ok(FrappeChanges {
        inputs,
        apps,
        python_packages: changes(&wants.python, &gots.python),
        node_packages: changes(&wants.node, &gots.node),
        assets: changes(&wants.assets, &gots.assets),
        hooks_and_patches: changes(&wants.hooks, &gots.hooks),
    })
}

/// Versions by name; a name may be there more than once.
type Versions = BTreeMap<String, BTreeSet<String>>;

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
        LockedSource::Local { path } => format!("folder {path} at {}", app.commit),
    };
    lock.apps.iter().map(|app| (app.name.clone(), BTreeSet::from([version(app)]))).collect()
}

/// What is read of contents: `sites/apps.json`, and the version in each `package.json`.
const NOTES: Notes = Notes { wanted, note };

fn wanted(path: &[u8]) -> bool {
    path.ends_with(APPS_JSON) || node_package(path).is_some()
}

fn note(path: &[u8], content: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct PackageJson {
        version: String,
    }
    match path.ends_with(APPS_JSON) {
        true => String::from_utf8(content.to_vec()).ok().map(String::into_boxed_str),
        false => {
            let package: PackageJson = serde_json::from_slice(content).ok()?;
            Some(printable(package.version.as_bytes()).into_boxed_str())
        }
    }
}

const APPS_JSON: &[u8] = b"/sites/apps.json";

/// What an image's tree says about Frappe.
#[derive(Default)]
struct Inventory {
    apps: Versions,
    python: Versions,
    node: Versions,
    assets: Versions,
    hooks: Versions,
}

impl Inventory {
    fn of(files: &[&Item]) -> Self {
        let mut inventory = Self::default();
        for file in files {
            inventory.add(file);
        }
        inventory
    }

    fn add(&mut self, file: &Item) {
        let mut note = |versions: fn(&mut Self) -> &mut Versions, name: String, version: String| {
            versions(self).entry(name).or_default().insert(version);
        };
        if let Some((name, version)) = python_package(&file.path) {
            note(|all| &mut all.python, name, version);
        } else if let Some(name) = node_package(&file.path) {
            let version = file.note.as_deref().unwrap_or("no version");
            note(|all| &mut all.node, name, version.to_owned());
        } else if let Some((name, hash)) = bundle(&file.path) {
            note(|all| &mut all.assets, name, hash);
        } else if is_hook(&file.path) {
            note(|all| &mut all.hooks, printable(&file.path), file.content.to_string());
        } else if let Some(text) = file.note.as_deref().filter(|_| file.path.ends_with(APPS_JSON)) {
            apps(text).into_iter().for_each(|(name, version)| note(|all| &mut all.apps, name, version));
        }
    }
}

/// `…/env/lib/python3.11/site-packages/click-8.1.7.dist-info/METADATA`
fn python_package(path: &[u8]) -> Option<(String, String)> {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let known = [names.next()?, names.next()?, names.next()?, names.next()?, names.next()?, names.next()?];
    let [b"METADATA", info, b"site-packages", python, b"lib", b"env"] = known else { return None };
    let info = info.strip_suffix(b".dist-info").filter(|_| python.starts_with(b"python"))?;
    let dash = info.iter().position(|byte| *byte == b'-')?;
    Some((printable(&info[..dash]), printable(&info[dash + 1..])))
}

/// `…/apps/frappe/node_modules/a/node_modules/@b/c/package.json` is `frappe: a > @b/c`.
pub(super) fn node_package(path: &[u8]) -> Option<String> {
    let names: Vec<&[u8]> = path.strip_suffix(b"/package.json")?.split(|byte| *byte == b'/').collect();
    let apps = names.iter().position(|name| *name == b"apps")?;
    let app = names.get(apps + 1)?;
    let mut parts = names[apps + 2..].split(|name| *name == b"node_modules");
    parts.next()?;
    let packages: Vec<_> = parts.map(|part| part.join(&b'/')).collect();
    let last = packages.last()?;
    let slashes = last.iter().filter(|byte| **byte == b'/').count();
    if last.is_empty() || slashes != usize::from(last.starts_with(b"@")) {
        return None;
    }
    Some(format!("{}: {}", printable(app), printable(&packages.join(b" > ".as_slice()))))
}

/// `…/dist/css/desk.bundle.ABCD1234.css` is `…/dist/css/desk.bundle.css` with `ABCD1234`.
fn bundle(path: &[u8]) -> Option<(String, String)> {
    const MIDDLE: &[u8] = b".bundle.";
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (folder, name) = (&path[..slash], &path[slash + 1..]);
    if !folder.split(|byte| *byte == b'/').any(|name| name == b"dist") {
        return None;
    }
    let at = name.windows(MIDDLE.len()).position(|part| part == MIDDLE)? + MIDDLE.len();
    let (hash, end) = name[at..].split_at(name[at..].iter().position(|byte| *byte == b'.')?);
    if !matches!(end, b".css" | b".js") {
        return None;
    }
    let stable = [folder, b"/", &name[..at - 1], end].concat();
    Some((printable(&stable), printable(hash)))
}

fn is_hook(path: &[u8]) -> bool {
    let mut names = path.rsplit(|byte| *byte == b'/');
    matches!(names.next(), Some(b"hooks.py" | b"patches.txt")) && names.nth(2) == Some(b"apps")
}

/// What bench wrote: an object by app, each with its branch and commit.
fn apps(text: &str) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct App {
        resolution: Option<Resolution>,
        version: Option<String>,
    }
    #[derive(Deserialize)]
    struct Resolution {
        branch: Option<String>,
        commit_hash: Option<String>,
    }
    let version = |app: App| match app.resolution {
        Some(Resolution { branch: Some(branch), commit_hash: Some(commit) }) => {
            format!("{branch} at {commit}")
        }
        Some(Resolution { commit_hash: Some(commit), .. }) => commit,
        _ => app.version.unwrap_or_default(),
    };
    let apps: BTreeMap<String, App> = serde_json::from_str(text).unwrap_or_default();
    let shown = |text: &str| printable(text.as_bytes());
    apps.into_iter().map(|(name, app)| (shown(&name), shown(&version(app)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_they_belong_to() {
        let python = |path: &str| python_package(path.as_bytes());
        let site = "b/env/lib/python3.11/site-packages";
        let click = Some(("click".to_owned(), "8.1.7".to_owned()));
        assert_eq!(python(&format!("{site}/click-8.1.7.dist-info/METADATA")), click);
        assert_eq!(python(&format!("{site}/click-8.1.7.dist-info/RECORD")), None);
        assert_eq!(python("usr/lib/python3/dist-packages/click-8.dist-info/METADATA"), None);

        let node = |path: &str| node_package(path.as_bytes());
        assert_eq!(node("b/apps/hrms/node_modules/vue/package.json"), Some("hrms: vue".into()));
        let nested = "b/apps/hrms/ui/node_modules/a/node_modules/@b/c/package.json";
        assert_eq!(node(nested), Some("hrms: a > @b/c".into()));
        assert_eq!(node("b/apps/hrms/node_modules/vue/esm/package.json"), None);
        assert_eq!(node("b/apps/hrms/package.json"), None);

        let css = bundle(b"b/assets/frappe/dist/css/desk.bundle.AB12.css");
        assert_eq!(css, Some(("b/assets/frappe/dist/css/desk.bundle.css".into(), "AB12".into())));
        assert_eq!(bundle(b"b/assets/frappe/dist/css/desk.bundle.AB12.css.map"), None);
        assert!(is_hook(b"b/apps/hrms/hrms/hooks.py"));
        assert!(!is_hook(b"b/apps/hrms/hrms/tests/hooks.py"));
    }

    #[test]
    fn benchs_own_list_names_commits() {
        let text = r#"{"a": {"resolution": {"branch": "v15", "commit_hash": "abc"}, "version": "1.2"},
                       "b": {"resolution": null, "version": "3"}}"#;
        let expected = [("a".to_owned(), "v15 at abc".to_owned()), ("b".to_owned(), "3".to_owned())];
        assert_eq!(apps(text), expected);
        assert_eq!(apps("[]"), []);
    }
}
