//! What an image's tree contains of Frappe: apps, packages, asset bundles, hooks.

use std::collections::{BTreeMap, BTreeSet};

use carafe_layers::diff::{Extractor, Item};
use carafe_layers::text::escape_bytes;
use serde::Deserialize;

/// Versions by name; one name may have several.
pub(super) type Versions = BTreeMap<String, BTreeSet<String>>;

/// The contents that are read: `sites/apps.json`, and the version in each `package.json`.
pub(super) const NOTES: Extractor = Extractor { selects, extract };

fn selects(path: &[u8]) -> bool {
    path.ends_with(APPS_JSON) || node_package(path).is_some()
}

fn extract(path: &[u8], content: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct PackageJson {
        version: String,
    }
    match path.ends_with(APPS_JSON) {
        true => String::from_utf8(content.to_vec()).ok().map(String::into_boxed_str),
        false => {
            let package: PackageJson = serde_json::from_slice(content).ok()?;
            Some(escape_bytes(package.version.as_bytes()).into_boxed_str())
        }
    }
}

const APPS_JSON: &[u8] = b"/sites/apps.json";

/// What an image's tree contains of Frappe.
#[derive(Default)]
pub(super) struct Inventory {
    pub apps: Versions,
    pub python: Versions,
    pub node: Versions,
    pub assets: Versions,
    pub hooks: Versions,
}

impl Inventory {
    /// Collects it from all files.
    pub fn of(files: &[&Item]) -> Self {
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
            let version = file.extract.as_deref().unwrap_or("no version");
            note(|all| &mut all.node, name, version.to_owned());
        } else if let Some((name, hash)) = bundle(&file.path) {
            note(|all| &mut all.assets, name, hash);
        } else if is_hook(&file.path) {
            note(|all| &mut all.hooks, escape_bytes(&file.path), file.content.to_string());
        } else if let Some(text) = file.extract.as_deref().filter(|_| file.path.ends_with(APPS_JSON)) {
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
    Some((escape_bytes(&info[..dash]), escape_bytes(&info[dash + 1..])))
}

/// `…/apps/frappe/node_modules/a/node_modules/@b/c/package.json` is `frappe: a > @b/c`.
pub(crate) fn node_package(path: &[u8]) -> Option<String> {
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
    Some(format!("{}: {}", escape_bytes(app), escape_bytes(&packages.join(b" > ".as_slice()))))
}

/// `…/dist/css/desk.bundle.ABCD1234.css` is `…/dist/css/desk.bundle.css` with `ABCD1234`.
fn bundle(path: &[u8]) -> Option<(String, String)> {
    const MIDDLE: &[u8] = b".bundle.";
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (directory, name) = (&path[..slash], &path[slash + 1..]);
    if !directory.split(|byte| *byte == b'/').any(|name| name == b"dist") {
        return None;
    }
    let at = name.windows(MIDDLE.len()).position(|part| part == MIDDLE)? + MIDDLE.len();
    let (hash, end) = name[at..].split_at(name[at..].iter().position(|byte| *byte == b'.')?);
    if !matches!(end, b".css" | b".js") {
        return None;
    }
    let stable = [directory, b"/", &name[..at - 1], end].concat();
    Some((escape_bytes(&stable), escape_bytes(hash)))
}

fn is_hook(path: &[u8]) -> bool {
    let mut names = path.rsplit(|byte| *byte == b'/');
    matches!(names.next(), Some(b"hooks.py" | b"patches.txt")) && names.nth(2) == Some(b"apps")
}

/// The apps in the file that bench wrote: an object by app, each with its branch and commit.
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
    let shown = |text: &str| escape_bytes(text.as_bytes());
    apps.into_iter().map(|(name, app)| (shown(&name), shown(&version(app)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_packages_and_assets() {
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
    fn commits_are_read_from_benchs_list_of_apps() {
        let text = r#"{"a": {"resolution": {"branch": "v15", "commit_hash": "abc"}, "version": "1.2"},
                       "b": {"resolution": null, "version": "3"}}"#;
        let expected = [("a".to_owned(), "v15 at abc".to_owned()), ("b".to_owned(), "3".to_owned())];
        assert_eq!(apps(text), expected);
        assert_eq!(apps("[]"), []);
    }
}
