//! Stylesheets are named after what they say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bench_tree::unknown;
use super::{BenchTree, NormalizeError, Rule, site_files, source_map};

pub(super) const RULE: Rule = Rule {
    name: "css-bundles",
    reason: "the postcss plugin works in a random directory, esbuild hashes its path into each \
             bundle's name, and the source map tells it",
    apply,
};

/// Where the assets are before they are moved to their place for run time.
const ASSETS: &str = "sites/assets";

/// Which names the browser's names stand for. The second is missing where nothing is
/// right-to-left.
const LISTS: [(&str, bool); 2] = [("assets.json", true), ("assets-rtl.json", false)];

/// Directories of an app's dist that hold what went through the plugin.
const KINDS: [&str; 2] = ["css", "css-rtl"];

/// How esbuild names: eight digits of base 32.
const HASH_DIGITS: usize = 8;
const BASE_32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let mut renamed = BTreeMap::new();
    for (name, needed) in LISTS {
        let path = Path::new(ASSETS).join(name);
        if !needed && tree.kind(&path)?.is_none() {
            continue;
        }
        let text = tree.read_text(&path)?;
        let mut list: BTreeMap<String, String> = serde_json::from_str(&text)
            .map_err(|error| unknown(&path, format!("it is no list of assets: {error}")))?;
        for url in list.values_mut() {
            if !renamed.contains_key(url) {
                let new = settle(tree, &path, url)?;
                renamed.insert(url.clone(), new);
            }
            url.clone_from(&renamed[url]);
        }
        tree.write(&path, site_files::json(&list))?;
    }
    Ok(renamed.iter().filter(|(old, new)| old != new).count())
}

/// Settles the bundle that a list names by `url`, if it is a stylesheet; its new URL.
fn settle(tree: &BenchTree, list: &Path, url: &str) -> Result<String, NormalizeError> {
    let Some(bundle) = Bundle::parse(url).ok_or_else(|| unknown(list, format!("it names `{url}`")))? else {
        return Ok(url.to_owned());
    };
    let directory = bundle.directory(tree)?;
    let path = directory.join(bundle.file());
    let css = tree.read_text(&path)?;
    let map = directory.join(format!("{}.map", bundle.file()));
    let comment = format!("/*# sourceMappingURL={}.map */\n", bundle.file());
    let (rules, mapped) = match css.strip_suffix(&comment) {
        Some(rules) => (rules, true),
        None if !css.contains("sourceMappingURL=") => (css.as_str(), false),
        None => return Err(unknown(&path, "its last line does not name its source map")),
    };
    let new = Bundle { hash: hash(rules), ..bundle.clone() };
    if new.file() != bundle.file() && tree.kind(&directory.join(new.file()))?.is_some() {
        return Err(unknown(&path, format!("`{}`, which it should become, is there already", new.file())));
    }
    let mut css = rules.to_owned();
    if mapped {
        let text = settle_map(tree, &map, rules, &path)?;
        tree.remove(&map)?;
        tree.write(&directory.join(format!("{}.map", new.file())), text)?;
        css += &format!("/*# sourceMappingURL={}.map */\n", new.file());
    }
    tree.remove(&path)?;
    tree.write(&directory.join(new.file()), css)?;
    Ok(new.url())
}

fn settle_map(tree: &BenchTree, map: &Path, rules: &str, css: &Path) -> Result<String, NormalizeError> {
    let (text, temporary) = source_map::settle(&tree.read_text(map)?).map_err(|why| unknown(map, why))?;
    for directory in temporary {
        for (path, content) in [(map, text.as_str()), (css, rules)] {
            if content.contains(&directory) {
                return Err(unknown(
                    path,
                    format!("it tells the temporary directory {directory} in its content"),
                ));
            }
        }
    }
    Ok(text)
}

/// `/assets/<app>/dist/<kind>/<stem>.<hash>.css`, taken apart. The stem may hold directories.
#[derive(Clone)]
struct Bundle {
    app: String,
    kind: String,
    stem: String,
    hash: String,
}

impl Bundle {
    /// `Some(None)` for what is no stylesheet, nothing for what should be one and is not
    /// understood.
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

    /// The file's own name.
    fn file(&self) -> String {
        let stem = self.stem.rsplit('/').next().unwrap_or(&self.stem);
        format!("{stem}.{}.css", self.hash)
    }

    /// The directory that holds it: sites/assets has a link to each app's public directory, or its copy.
    fn directory(&self, tree: &BenchTree) -> Result<PathBuf, NormalizeError> {
        let link = Path::new(ASSETS).join(&self.app);
        let public = match tree.kind(&link)? {
            Some(kind) if kind.is_dir() => link,
            Some(kind) if kind.is_symlink() => {
                Path::new("apps").join(&self.app).join(&self.app).join("public")
            }
            _ => return Err(unknown(&link, "neither a link to the app's public directory nor a directory")),
        };
        let below = self.stem.rsplit_once('/').map_or("", |(directories, _)| directories);
        Ok(public.join("dist").join(&self.kind).join(below))
    }
}

/// As long as esbuild's, and made of nothing but the content.
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

    /// What two builds of the same sources left, by esbuild 0.14.54 and the real plugin: two
    /// names for one stylesheet.
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
    fn two_builds_become_one() {
        let built = BUILDS.map(build);
        assert_ne!(files(&built[0].1), files(&built[1].1));
        for (_, tree) in &built {
            assert_eq!(apply(tree).unwrap(), 1);
        }
        let after = files(&built[0].1);
        assert_eq!(after, files(&built[1].1));
        let shown: String =
            after.iter().map(|(path, text)| format!("== {}\n{text}\n", path.display())).collect();
        insta::assert_snapshot!(shown);
        assert_eq!(apply(&built[0].1).unwrap(), 0);
        assert_eq!(files(&built[0].1), after);
    }

    #[test]
    fn other_content_has_another_name() {
        assert_eq!(hash(CSS).len(), HASH_DIGITS);
        assert_ne!(hash(CSS), hash(".other{}"));
    }

    fn fails(change: impl Fn(&Path)) -> String {
        let (directory, tree) = build(BUILDS[0]);
        change(directory.path());
        apply(&tree).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_known_is_named() {
        let dist = "apps/frappe/frappe/public/dist/css";
        let css = format!("{dist}/desk.bundle.H5RMZMWE.css");
        let write = |path: &str, text: &str| {
            let (path, text) = (path.to_owned(), text.to_owned());
            move |root: &Path| fs::write(root.join(&path), &text).unwrap()
        };
        let list =
            |url: &str| write("sites/assets/assets.json", &format!(r#"{{"desk.bundle.css":"{url}"}}"#));

        let told =
            "/* tmp-6948-M7FlkMsOujHA/x.css */\n/*# sourceMappingURL=desk.bundle.H5RMZMWE.css.map */\n";
        assert!(fails(write(&css, told)).contains("it tells the temporary directory tmp-6948-M7FlkMsOujHA"));
        let other = "a{}\n/*# sourceMappingURL=other.css.map */\n";
        assert!(fails(write(&css, other)).contains("does not name its source map"));
        assert!(fails(write(&format!("{css}.map"), "{}")).contains("it has no `sources`"));
        assert!(fails(write("sites/assets/assets.json", "[]")).contains("it is no list of assets"));
        assert!(fails(list("/assets/frappe/dist/css/desk.bundle.css")).contains("it names `/assets/frappe"));
        assert!(
            fails(list("/assets/frappe/dist/css/../../../../x.AAAAAAAA.css")).contains("not plainly below")
        );
        assert!(fails(list("https://cdn.example.com/x.css")).contains("it names `https://cdn"));
        let taken = move |root: &Path| {
            fs::write(root.join(format!("{dist}/desk.bundle.{}.css", hash(CSS))), "").unwrap()
        };
        assert!(fails(taken).contains("is there already"));
    }
}
