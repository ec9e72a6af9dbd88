//! Writes bench's own files in sites/ again, from the lock.

use std::collections::BTreeMap;
use std::path::Path;

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;
use crate::git::CommitId;
use crate::lock::{LockedApp, LockedSource};

pub(super) const RULE: Rule = Rule {
    name: "site-files",
    reason: "apps.txt has the order of the file system, common_site_config.json the number of \
             CPUs, and apps.json no commit of frappe",
    apply,
};

const APPS_TXT: &str = "sites/apps.txt";
const APPS_JSON: &str = "sites/apps.json";
const COMMON_SITE_CONFIG: &str = "sites/common_site_config.json";

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let path = Path::new(APPS_JSON);
    let text = tree.read_text(path)?;
    let states: BTreeMap<String, State> = serde_json::from_str(&text).map_err(|error| {
        NormalizeError::unsupported(path, format!("it does not have the format of bench: {error}"))
    })?;
    for name in states.keys() {
        if !tree.apps().iter().any(|app| app.name == *name) {
            return Err(NormalizeError::unsupported(
                path,
                format!("it has the app `{name}`, which is not in the lock"),
            ));
        }
    }
    let entries = tree.apps().iter().enumerate().map(|(at, app)| {
        let state = states.get(&app.name);
        let state = state.ok_or_else(|| {
            NormalizeError::unsupported(path, format!("bench did not install `{}`", app.name))
        })?;
        Ok(Entry { app, idx: at + 1, state })
    });
    let entries = Entries(entries.collect::<Result<_, _>>()?);
    let files = [(APPS_JSON, json(&entries)), (COMMON_SITE_CONFIG, "{}\n".to_owned())];
    files.iter().try_for_each(|(path, content)| tree.write(Path::new(path), content))?;
    write_apps_txt(tree)?;
    Ok(files.len() + 1)
}

/// Writes the apps in the order of the lock, in bench's format: without a final newline.
pub(super) fn write_apps_txt(tree: &BenchTree) -> Result<(), NormalizeError> {
    let names: Vec<_> = tree.apps().iter().map(|app| app.name.as_str()).collect();
    tree.write(Path::new(APPS_TXT), names.join("\n"))
}

/// JSON in the format of bench and frappe: indented by four spaces, without a final newline.
pub(super) fn json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("plain data serializes");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// The members of bench's entry for an app that are not in the lock.
#[derive(Deserialize)]
struct State {
    version: String,
    #[serde(default)]
    required: Vec<String>,
}

/// bench's apps.json: the members in bench's order, the apps in the order of the lock.
struct Entries<'a>(Vec<Entry<'a>>);

struct Entry<'a> {
    app: &'a LockedApp,
    idx: usize,
    state: &'a State,
}

#[derive(Serialize)]
struct Resolution<'a> {
    commit_hash: &'a CommitId,
    branch: Option<&'a str>,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for entry in &self.0 {
            map.serialize_entry(&entry.app.name, entry)?;
        }
        map.end()
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let branch = match &self.app.source {
            LockedSource::Git { reference, .. } => reference.as_ref().map(|(_, name)| name.as_str()),
            LockedSource::Local { .. } => None,
        };
        let mut entry = serializer.serialize_struct("Entry", 5)?;
        entry.serialize_field("is_repo", &true)?;
        entry.serialize_field("resolution", &Resolution { commit_hash: &self.app.commit, branch })?;
        entry.serialize_field("required", &self.state.required)?;
        entry.serialize_field("idx", &self.idx)?;
        entry.serialize_field("version", &self.state.version)?;
        entry.end()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::bench_tree::tests::bench;
    use super::*;
    use crate::git::RefKind;

    fn apps() -> Vec<LockedApp> {
        let app = |name: &str, digit: &str, source| LockedApp {
            name: name.into(),
            source,
            commit: digit.repeat(40).parse().unwrap(),
            tree: digit.repeat(40).parse().unwrap(),
            time: 1_767_603_600,
        };
        let git = |reference: Option<&str>| LockedSource::Git {
            url: "https://git.example.com/demo/app".into(),
            reference: reference.map(|name| (RefKind::Branch, name.into())),
        };
        vec![
            app("frappe", "a", git(Some("main"))),
            app("greetings", "b", git(None)),
            app("farewell", "c", LockedSource::Local { path: "apps/farewell".into() }),
        ]
    }

    /// Written by bench 5.31.1.
    const STATES: &str = r#"{
    "frappe": {
        "resolution": {
            "commit_hash": null,
            "branch": null
        },
        "required": [],
        "idx": 1,
        "version": "1.0.0"
    },
    "farewell": {
        "is_repo": true,
        "resolution": {
            "commit_hash": "3cc0ce7ea44bc93ec0b8ad7e71dd9a04a2fbbaa4",
            "branch": "carafe"
        },
        "required": [],
        "idx": 2,
        "version": "1.0.0"
    },
    "greetings": {
        "is_repo": true,
        "resolution": {
            "commit_hash": "43cfd4a9d0e1ad0a8e86d1d5cbe0c2ee58af64ab",
            "branch": "carafe"
        },
        "required": [],
        "idx": 3,
        "version": "2.1.0"
    }
}"#;

    #[test]
    fn describes_the_locked_apps() {
        let config = r#"{"gunicorn_workers": 5, "frappe_user": "frappe"}"#;
        let files =
            [(APPS_JSON, STATES), (APPS_TXT, "frappe\nfarewell\ngreetings"), (COMMON_SITE_CONFIG, config)];
        let (directory, tree) = bench(&files, apps());
        assert_eq!(apply(&tree).unwrap(), 3);
        let read = |path| fs::read_to_string(directory.path().join(path)).unwrap();
        assert_eq!(read(APPS_TXT), "frappe\ngreetings\nfarewell");
        assert_eq!(read(COMMON_SITE_CONFIG), "{}\n");
        insta::assert_snapshot!(read(APPS_JSON));
        apply(&tree).unwrap();
    }

    #[test]
    fn rejects_a_bench_that_differs_from_the_lock() {
        let fails = |states: &str, apps| {
            let (_directory, tree) = bench(&[(APPS_JSON, states)], apps);
            apply(&tree).unwrap_err().to_string()
        };
        assert!(
            fails(STATES, apps()[..1].to_vec())
                .contains("it has the app `farewell`, which is not in the lock")
        );
        let one = r#"{"frappe": {"version": "1.0.0"}}"#;
        assert!(fails(one, apps()).contains("bench did not install `greetings`"));
        assert!(fails("[]", apps()).contains("it does not have the format of bench"));
    }
}
