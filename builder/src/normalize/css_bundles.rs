//! Names stylesheets by their content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;
use super::{site_files, source_map};

pub(super) const RULE: Rule = Rule {
    name: "css-bundles",
    reason: "the postcss plugin works in a random directory, whose path is hashed into the name of each bundle by \
             esbuild, and written into its source map",
    apply,
};

/// The assets, before they are moved to their directory at run time.
const ASSETS: &str = "sites/assets";

/// The lists of assets, which map bundle names to URLs, and whether each is required. The second one is missing if
/// no asset is right-to-left.
const LISTS: [(&str, bool); 2] = [("assets.json", true), ("assets-rtl.json", false)];

/// Directories in an app's `dist` with the output of the plugin.
const KINDS: [&str; 2] = ["css", "css-rtl"];

/// Length of the hash in esbuild's file names, in base 32 digits.
const HASH_DIGITS: usize = 8;
const BASE_32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let mut renamed = BTreeMap::new();
    for (name, is_required) in LISTS {
        let path = Path::new(ASSETS).join(name);
        if !is_required && tree.kind(&path)?.is_none() {
            continue;
        }
        let text = tree.read_text(&path)?;
        let mut list: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|error| {
            NormalizeError::unsupported(&path, format!("it is not a list of assets: {error}"))
        })?;
        for url in list.values_mut() {
            if !renamed.contains_key(url) {
                let new = normalize_bundle(tree, &path, url)?;
                renamed.insert(url.clone(), new);
            }
            url.clone_from(&renamed[url]);
        }
        tree.write(&path, site_files::json(&list))?;
    }
    Ok(renamed.iter().filter(|(old, new)| old != new).count())
}

/// Renames the bundle with this `url` in `list`, if it is a stylesheet. Returns its new URL.
fn normalize_bundle(tree: &BenchTree, list: &Path, url: &str) -> Result<String, NormalizeError> {
    let Some(bundle) = Bundle::parse(url)
        .ok_or_else(|| NormalizeError::unsupported(list, format!("it has the unsupported URL `{url}`")))?
    else {
        return Ok(url.to_owned());
    };
    let directory = bundle.directory(tree)?;
    let path = directory.join(bundle.file());
    let css = tree.read_text(&path)?;
    let map = directory.join(format!("{}.map", bundle.file()));
    let comment = format!("/*# sourceMappingURL={}.map */\n", bundle.file());
    let (rules, has_map) = match css.strip_suffix(&comment) {
        Some(rules) => (rules, true),
        None if !css.contains("sourceMappingURL=") => (css.as_str(), false),
        None => {
            return Err(NormalizeError::unsupported(
                &path,
                "its last line does not have the name of its source map",
            ));
        }
    };
    let new = Bundle { hash: hash(rules), ..bundle.clone() };
    if new.file() != bundle.file() && tree.kind(&directory.join(new.file()))?.is_some() {
        return Err(NormalizeError::unsupported(
            &path,
            format!("its new name `{}` exists already", new.file()),
        ));
    }
    let mut css = rules.to_owned();
    if has_map {
        let text = normalize_map(tree, &map, rules, &path)?;
        tree.remove(&map)?;
        tree.write(&directory.join(format!("{}.map", new.file())), text)?;
        css += &format!("/*# sourceMappingURL={}.map */\n", new.file());
    }
    tree.remove(&path)?;
    tree.write(&directory.join(new.file()), css)?;
    Ok(new.url())
}

fn normalize_map(tree: &BenchTree, map: &Path, rules: &str, css: &Path) -> Result<String, NormalizeError> {
    let (text, temporary) = source_map::normalize(&tree.read_text(map)?)
        .map_err(|reason| NormalizeError::unsupported(map, reason))?;
    for directory in temporary {
        for (path, content) in [(map, text.as_str()), (css, rules)] {
            if content.contains(&directory) {
                return Err(NormalizeError::unsupported(
                    path,
                    format!("its content has the name of the temporary directory {directory}"),
                ));
            }
        }
    }
    Ok(text)
}

/// The parts of `/assets/<app>/dist/<kind>/<stem>.<hash>.css`. The stem may contain directories.
#[derive(Clone)]
struct Bundle {
    app: String,
    kind: String,
    stem: String,
    hash: String,
}

impl Bundle {
    /// `Some(None)` for another file, `None` for a stylesheet whose URL has another form.
    fn parse(url: &str) -> Option<Option<Self>> {
        let (app, file) = url.strip_prefix("/assets/")?.split_once('/')?;
        let Some((kind, file)) = file.strip_prefix("dist/").and_then(|file| file.split_once('/')) else {
            return Some(None);
        };
        if !KINDS.contains(&kind) || !file.ends_with(".css") {
            return Some(None);
        }
        let (stem, hash) = file.strip_suffix(".css")?.rsplit_once('.')?;
        let known = hash.len() == HASH_DIGITS && hash.bytes().all(|b| BASE_32.contains(&b));
        let own = |text: &str| text.to_owned();
        known.then(|| Some(Self { app: own(app), kind: own(kind), stem: own(stem), hash: own(hash) }))
    }

    fn url(&self) -> String {
        let Self { app, kind, stem, hash } = self;
        format!("/assets/{app}/dist/{kind}/{stem}.{hash}.css")
    }

    /// The file name.
    fn file(&self) -> String {
        let stem = self.stem.rsplit('/').next().unwrap_or(&self.stem);
        format!("{stem}.{}.css", self.hash)
    }

    /// The directory of the file: sites/assets has a link to each app's public directory, or a copy of it.
    fn directory(&self, tree: &BenchTree) -> Result<PathBuf, NormalizeError> {
        let link = Path::new(ASSETS).join(&self.app);
        let public = match tree.kind(&link)? {
            Some(kind) if kind.is_dir() => link,
            Some(kind) if kind.is_symlink() => {
                Path::new("apps").join(&self.app).join(&self.app).join("public")
            }
            _ => {
                return Err(NormalizeError::unsupported(
                    &link,
                    "it is neither a link to the app's public directory nor a directory",
                ));
            }
        };
        let below = self.stem.rsplit_once('/').map_or("", |(directories, _)| directories);
        Ok(public.join("dist").join(&self.kind).join(below))
    }
}

/// A hash of the content, in the form of esbuild's.
fn hash(css: &str) -> String {
    let digest = Sha256::digest(css);
    let bits = digest[..5].iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    (0..HASH_DIGITS).rev().map(|at| BASE_32[(bits >> (5 * at) & 31) as usize] as char).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::bench_tree::tests::bench;
    use super::*;

    /// The output of two builds of the same sources with esbuild 0.14.54 and the real plugin: two names for one
    /// stylesheet.
    const BUILDS: [(&str, &str, &str); 2] = [
        ("H5RMZMWE", "tmp-6948-M7FlkMsOujHA", "1a1fdd1ddd60"),
        ("IOQ4CJWX", "tmp-14384-o2HbZb3DDiKW", "1a1fdd249121"),
    ];
    const CSS: &str = ".shared{margin-left:1px}body{margin-left:2rem;font-family:sans-serif}\n";

    fn build((hash, temporary, id): (&str, &str, &str)) -> (tempfile::TempDir, BenchTree) {
        let css = format!("{CSS}/*# sourceMappingURL=desk.bundle.{hash}.css.map */\n");
        let map = format!(
            r#"{{
  "version": 3,
  "sources": ["../../../../../../../../../tmp/{temporary}/{id}/shared.css", "../../../../../../../../../tmp/{temporary}/frappe/frappe/public/css/desk.bundle.css"],
  "sourcesContent": [".shared{{margin-left:1px}}\n", "body {{\n  margin-left: 2rem;\n  font-family: sans-serif;\n}}"],
  "mappings": "AAAA,QAAQ,gBCCR,GAAG",
  "names": []
}}
"#
        );
        let list = format!(
            r#"{{
    "desk.bundle.js": "/assets/frappe/dist/js/desk.bundle.WEJQ4DCE.js",
    "desk.bundle.css": "/assets/frappe/dist/css/desk.bundle.{hash}.css"
}}"#
        );
        let dist = "apps/frappe/frappe/public/dist/css";
        let (directory, tree) = bench(
            &[
                (&format!("{dist}/desk.bundle.{hash}.css"), &css),
                (&format!("{dist}/desk.bundle.{hash}.css.map"), &map),
                ("sites/assets/assets.json", &list),
            ],
            Vec::new(),
        );
        let public = "/home/frappe/frappe-bench/apps/frappe/frappe/public";
        std::os::unix::fs::symlink(public, directory.path().join("sites/assets/frappe")).unwrap();
        (directory, tree)
    }

    fn files(tree: &BenchTree) -> BTreeMap<PathBuf, String> {
        let found = tree.find("", |entry| entry.file_type().is_file()).unwrap();
        found.into_iter().map(|path| (path.clone(), tree.read_text(&path).unwrap())).collect()
    }

    #[test]
    fn makes_two_builds_equal() {
        let built = BUILDS.map(build);
        assert_ne!(files(&built[0].1), files(&built[1].1));
        for (_, tree) in &built {
            assert_eq!(apply(tree).unwrap(), 1);
        }
        let after = files(&built[0].1);
        assert_eq!(after, files(&built[1].1));
        let text: String =
            after.iter().map(|(path, text)| format!("== {}\n{text}\n", path.display())).collect();
        insta::assert_snapshot!(text);
        assert_eq!(apply(&built[0].1).unwrap(), 0);
        assert_eq!(files(&built[0].1), after);
    }

    #[test]
    fn names_other_content_differently() {
        assert_eq!(hash(CSS).len(), HASH_DIGITS);
        assert_ne!(hash(CSS), hash(".other{}"));
    }

    fn fails(change: impl Fn(&Path)) -> String {
        let (directory, tree) = build(BUILDS[0]);
        change(directory.path());
        apply(&tree).unwrap_err().to_string()
    }

    #[test]
    fn rejects_unsupported_forms() {
        let dist = "apps/frappe/frappe/public/dist/css";
        let css = format!("{dist}/desk.bundle.H5RMZMWE.css");
        let write = |path: &str, text: &str| {
            let (path, text) = (path.to_owned(), text.to_owned());
            move |root: &Path| fs::write(root.join(&path), &text).unwrap()
        };
        let list =
            |url: &str| write("sites/assets/assets.json", &format!(r#"{{"desk.bundle.css":"{url}"}}"#));

        let leaked =
            "/* tmp-6948-M7FlkMsOujHA/x.css */\n/*# sourceMappingURL=desk.bundle.H5RMZMWE.css.map */\n";
        assert!(
            fails(write(&css, leaked))
                .contains("its content has the name of the temporary directory tmp-6948-M7FlkMsOujHA")
        );
        let other = "a{}\n/*# sourceMappingURL=other.css.map */\n";
        assert!(fails(write(&css, other)).contains("does not have the name of its source map"));
        assert!(fails(write(&format!("{css}.map"), "{}")).contains("it has no `sources`"));
        assert!(fails(write("sites/assets/assets.json", "[]")).contains("it is not a list of assets"));
        assert!(
            fails(list("/assets/frappe/dist/css/desk.bundle.css"))
                .contains("unsupported URL `/assets/frappe")
        );
        assert!(
            fails(list("/assets/frappe/dist/css/../../../../x.AAAAAAAA.css"))
                .contains("the path is not below the bench")
        );
        assert!(fails(list("https://cdn.example.com/x.css")).contains("unsupported URL `https://cdn"));
        let taken = move |root: &Path| {
            fs::write(root.join(format!("{dist}/desk.bundle.{}.css", hash(CSS))), "").unwrap()
        };
        assert!(fails(taken).contains("exists already"));
    }
}
