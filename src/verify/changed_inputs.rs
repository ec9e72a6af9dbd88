//! Inputs that differ between the image and its rebuild, and the entries that they explain.

use carafe_builder::net::pep503;
use carafe_layers::image::layer_names;
use serde::Serialize;

use crate::diff::{FrappeChanges, NameChange, Opened, node_package};

/// The kind of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// The layers below Carafe's.
    BaseImage,
    /// The recording: bench received a response that differs from that of the first build.
    Recording,
    /// An app, by the commit that bench stored in `sites/apps.json`.
    App,
    /// A Python package in `env`.
    PythonPackage,
    /// A package in an app's `node_modules`.
    NodePackage,
}

impl InputKind {
    /// The kind's name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::BaseImage => "base image",
            Self::Recording => "recording",
            Self::App => "app",
            Self::PythonPackage => "python package",
            Self::NodePackage => "node package",
        }
    }
}

/// A changed input: `want` is what the lock produces now, `got` is what the image has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChangedInput {
    /// The kind.
    pub kind: InputKind,
    /// Its name, and both versions.
    #[serde(flatten)]
    pub change: NameChange,
}

impl ChangedInput {
    /// Kind and name: `python package click`.
    pub fn label(&self) -> String {
        match self.kind {
            InputKind::Recording => self.kind.name().to_owned(),
            kind => format!("{} {}", kind.name(), self.change.name),
        }
    }

    /// Whether this input explains a difference at `path`.
    pub fn explains(&self, path: &[u8]) -> bool {
        let name = &self.change.name;
        match self.kind {
            InputKind::BaseImage | InputKind::Recording => false,
            InputKind::App => of_app(path, name),
            InputKind::PythonPackage => {
                python_package(path).is_some_and(|found| found == pep503::normalize(name))
            }
            InputKind::NodePackage => node_package_around(path).is_some_and(|found| found == *name),
        }
    }
}

/// All inputs that differ.
pub fn changed_inputs(want: &Opened, got: &Opened, frappe: &FrappeChanges) -> Vec<ChangedInput> {
    let of = |kind, changes: &[NameChange]| -> Vec<ChangedInput> {
        changes.iter().map(|change| ChangedInput { kind, change: change.clone() }).collect()
    };
    let apps: Vec<_> = frappe.apps.iter().map(|app| app.change.clone()).collect();
    let mut changed: Vec<ChangedInput> = base_image(want, got).into_iter().collect();
    // Only the recordings of the two locks can differ: the rebuild used the image's lock.
    changed.extend(of(InputKind::Recording, &frappe.inputs));
    changed.extend(of(InputKind::App, &apps));
    changed.extend(of(InputKind::PythonPackage, &frappe.python_packages));
    changed.extend(of(InputKind::NodePackage, &frappe.node_packages));
    changed
}

/// The base image, if the image has none of its layers: the layers without a name in Carafe's history
/// are the base image's. An image that has one of them has a changed base image, not another one.
fn base_image(want: &Opened, got: &Opened) -> Option<ChangedInput> {
    let [wants, gots] = [want, got].map(base_diff_ids);
    let is_replaced = !wants.is_empty() && !gots.is_empty() && !gots.iter().any(|one| wants.contains(one));
    let has_own_layers = layer_names(&got.image).iter().any(Option::is_some);
    let name = want.lock.as_ref().map(|lock| lock.base_image.reference.clone())?;
    let shown = |layers: Vec<String>| Some(layers.join(" "));
    let change = || NameChange { name, want: shown(wants), got: shown(gots) };
    (is_replaced && has_own_layers).then(|| ChangedInput { kind: InputKind::BaseImage, change: change() })
}

fn base_diff_ids(image: &Opened) -> Vec<String> {
    let layers = image.image.config.rootfs.diff_ids.iter().zip(layer_names(&image.image));
    layers.filter(|(_, name)| name.is_none()).map(|(diff_id, _)| diff_id.0.to_string()).collect()
}

/// Whether a path belongs to an app: `…/apps/hrms/…`, `…/assets/hrms/…`, and bench's list of apps.
fn of_app(path: &[u8], app: &str) -> bool {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let is_of_app = |pair: &[&[u8]]| matches!(pair[0], b"apps" | b"assets") && pair[1] == app.as_bytes();
    names.windows(2).any(is_of_app) || path.ends_with(b"/sites/apps.json")
}

/// The package that a path below `site-packages` belongs to, by the name of its directory or file. A
/// package whose directory has another name (`PyJWT` and `jwt`) is not found.
fn python_package(path: &[u8]) -> Option<String> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let at = names.iter().position(|name| *name == b"site-packages")?;
    let top = String::from_utf8_lossy(names.get(at + 1)?).into_owned();
    let top = match top.strip_suffix(".dist-info") {
        Some(info) => info.split_once('-').map_or(info, |(name, _)| name),
        None => top.strip_suffix(".py").or(top.strip_suffix(".libs")).unwrap_or(&top),
    };
    Some(pep503::normalize(top))
}

/// The package that a path below `node_modules` belongs to.
fn node_package_around(path: &[u8]) -> Option<String> {
    const DIRECTORY: &[u8] = b"node_modules";
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let at = names.iter().rposition(|name| *name == DIRECTORY)? + 1;
    let parts = if names.get(at)?.starts_with(b"@") { 2 } else { 1 };
    let package = names.get(..at + parts)?.join(&b'/');
    node_package(&[&package, b"/package.json".as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_explain_the_paths_that_belong_to_them() {
        let input = |kind, name: &str| ChangedInput {
            kind,
            change: NameChange { name: name.into(), want: None, got: None },
        };
        let app = input(InputKind::App, "hrms");
        let python = input(InputKind::PythonPackage, "Jinja-X");
        let node = input(InputKind::NodePackage, "hrms: a > @b/c");
        for (input, path, explained) in [
            (&app, "b/apps/hrms/hrms/hooks.py", true),
            (&app, "b/sites/apps.json", true),
            (&app, "b/apps/frappe/hrms/x.py", false),
            (&python, "b/env/lib/python3.11/site-packages/jinja_x-3.1.dist-info/METADATA", true),
            (&python, "b/env/lib/python3.11/site-packages/jinja_x/core.py", true),
            (&python, "b/env/lib/python3.11/site-packages/jinja_x.py", true),
            (&python, "b/env/lib/python3.11/site-packages/jinja/core.py", false),
            (&python, "b/env/lib/python3.11/site-packages", false),
            (&node, "b/apps/hrms/ui/node_modules/a/node_modules/@b/c/dist/x.js", true),
            (&node, "b/apps/hrms/ui/node_modules/a/x.js", false),
            (&node, "b/apps/hrms/ui/node_modules", false),
        ] {
            assert_eq!(input.explains(path.as_bytes()), explained, "{path}");
        }
    }
}
