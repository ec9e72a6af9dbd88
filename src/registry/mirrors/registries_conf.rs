//! Reads `registries.conf`, version 2, as podman, skopeo and CRI-O do: `containers-registries.conf(5)`.
//! Short names and aliases in it are ignored.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Spanned, Value};

use super::entries::{Entry, Mirror, Mirrors, Serves};
use crate::registry::error::RegistryError;
use crate::registry::reference::is_host;

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The administrator's directory, and the user's below the home directory.
const SYSTEM: &str = "/etc/containers";
const USER: &str = ".config/containers";

/// The keys of a file that are used here.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<RegistryTable>,
    /// Version 1: `[registries.insecure]`, `[registries.block]`, `[registries.search]`.
    #[serde(default)]
    registries: BTreeMap<Spanned<String>, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<Spanned<String>>,
    location: Option<Spanned<String>>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: Spanned<String>,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Spanned<String>>,
}

impl Mirrors {
    /// Reads this machine's files: `$CONTAINERS_REGISTRIES_CONF`, else
    /// `$HOME/.config/containers/registries.conf`, else `/etc/containers/registries.conf`, and the
    /// `*.conf` files in the directories `registries.conf.d` beside the last two (if the user has a
    /// file, only in the user's). A later directory or name takes precedence.
    pub fn from_environment() -> Result<Self, RegistryError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user = variable("HOME").map(|home| home.join(USER));
        let files = files(variable("CONTAINERS_REGISTRIES_CONF"), user.as_deref(), Path::new(SYSTEM))?;
        Self::read(files)
    }

    /// Reads these files; a later one takes precedence.
    pub fn read(files: impl IntoIterator<Item = PathBuf>) -> Result<Self, RegistryError> {
        let mut mirrors = Self::default();
        for path in files {
            let text = read(&path)?;
            File { path: &path, text: &text }.entries()?.into_iter().for_each(|entry| mirrors.add(entry));
        }
        Ok(mirrors)
    }
}

fn files(named: Option<PathBuf>, user: Option<&Path>, system: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let own = user.map(|directory| directory.join("registries.conf")).filter(|path| path.exists());
    let is_users = named.is_none() && own.is_some();
    let main = named.or(own).or_else(|| Some(system.join("registries.conf")).filter(|path| path.exists()));
    let directories = [Some(system).filter(|_| !is_users), user];
    let mut files: Vec<PathBuf> = main.into_iter().collect();
    for directory in directories.into_iter().flatten() {
        files.extend(list(&directory.join("registries.conf.d"))?);
    }
    Ok(files)
}

/// The `*.conf` files of a directory, sorted by name.
fn list(directory: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(directory, error.to_string())),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| unreadable(directory, error.to_string()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, RegistryError> {
    let size = fs::metadata(path).map_err(|error| unreadable(path, error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(path, "it is larger than 1 MiB".to_owned()));
    }
    fs::read_to_string(path).map_err(|error| unreadable(path, error.to_string()))
}

fn unreadable(path: &Path, reason: String) -> RegistryError {
    RegistryError::Settings { file: path.to_owned(), line: None, reason }
}

/// One file, for error messages.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn invalid(&self, offset: usize, reason: impl Into<String>) -> RegistryError {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = Some(before.matches('\n').count() + 1);
        RegistryError::Settings { file: self.path.to_owned(), line, reason: reason.into() }
    }

    fn entries(&self) -> Result<Vec<Entry>, RegistryError> {
        let document: Document = toml::from_str(self.text)
            .map_err(|error| self.invalid(error.span().unwrap_or_default().start, error.message()))?;
        let old_key = document.registries.keys().find(|key| key.get_ref() != "search");
        if let Some(key) = old_key {
            let reason = "this is version 1 of the format: write it as `[[registry]]`";
            return Err(self.invalid(key.span().start, reason));
        }
        document.registry.into_iter().map(|table| self.entry(table)).collect()
    }

    fn entry(&self, table: RegistryTable) -> Result<Entry, RegistryError> {
        let Some(prefix) = table.prefix.as_ref().or(table.location.as_ref()) else {
            // `toml` gives no position for a table.
            return Err(unreadable(self.path, "a `[[registry]]` has neither `prefix` nor `location`".into()));
        };
        let prefix = match prefix.get_ref().strip_prefix("*.") {
            Some(domain) => format!("*.{}", self.location(prefix, domain)?),
            None => self.location(prefix, prefix.get_ref())?,
        };
        let location = table.location.as_ref().filter(|location| !location.get_ref().is_empty());
        let location = location.map(|location| self.location(location, location.get_ref())).transpose()?;
        let by_digest = table.mirror_by_digest_only;
        Ok(Entry {
            location: location.filter(|location| *location != prefix),
            prefix,
            is_insecure: table.insecure,
            is_blocked: table.blocked,
            mirrors: table
                .mirror
                .into_iter()
                .map(|mirror| self.mirror(mirror, by_digest))
                .collect::<Result<_, _>>()?,
            file: self.path.to_owned(),
        })
    }

    fn mirror(&self, table: MirrorTable, by_digest: bool) -> Result<Mirror, RegistryError> {
        let serves = match table.pull_from_mirror.as_ref().map(|text| (text.get_ref().as_str(), text)) {
            None if by_digest => Serves::Digests,
            None | Some(("all", _)) => Serves::All,
            Some(("digest-only", _)) => Serves::Digests,
            Some(("tag-only", _)) => Serves::Tags,
            Some((_, text)) => {
                let reason = "`pull-from-mirror` must be `all`, `digest-only` or `tag-only`";
                return Err(self.invalid(text.span().start, reason));
            }
        };
        let location = self.location(&table.location, table.location.get_ref())?;
        Ok(Mirror { location, is_insecure: table.insecure, serves })
    }

    /// Checks `host[:port][/path]`; `at` is its position in the file.
    fn location(&self, at: &Spanned<String>, text: &str) -> Result<String, RegistryError> {
        let bare = text.trim_end_matches('/');
        let (host, path) = bare.split_once('/').map_or((bare, ""), |(host, path)| (host, path));
        let is_valid_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
        if !is_host(host) || !is_valid_path {
            let reason = format!("`{text}` is not `host[:port][/path]` (without `https://`)");
            return Err(self.invalid(at.span().start, reason));
        }
        Ok(bare.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Entry>, String> {
        let file = File { path: Path::new("registries.conf"), text };
        file.entries().map_err(|error| error.to_string())
    }

    #[test]
    fn reads_locations_and_mirrors_and_ignores_other_keys() {
        let entries = parse(
            r#"unqualified-search-registries = ["docker.io"]
            short-name-mode = "enforcing"
            credential-helpers = ["x"]
            [aliases]
            "debian" = "docker.io/library/debian"
            [[registry]]
            prefix = "docker.io"
            location = "docker.io"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "localhost:5000/hub/"
            insecure = true
            [[registry.mirror]]
            location = "harbor"
            pull-from-mirror = "tag-only"
            [[registry]]
            prefix = "*.example.com"
            blocked = true
            [[registry]]
            location = "[::1]:5000"
            insecure = true
            "#,
        )
        .unwrap();
        let [hub, domain, v6] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((hub.prefix.as_str(), &hub.location), ("docker.io", &None));
        let mirror =
            |location: &str, is_insecure, serves| Mirror { location: location.into(), is_insecure, serves };
        assert_eq!(
            hub.mirrors,
            [mirror("localhost:5000/hub", true, Serves::Digests), mirror("harbor", false, Serves::Tags)]
        );
        assert!(domain.prefix == "*.example.com" && domain.is_blocked && !domain.is_insecure);
        assert!(v6.prefix == "[::1]:5000" && v6.is_insecure);
    }

    #[test]
    fn errors_have_the_file_and_the_line() {
        for (text, message) in [
            ("[[registry]]\nlocation = 1\n", "line 2: invalid type"),
            ("[[registry]]\nlocation = \"https://a.io\"\n", "line 2: `https://a.io` is not"),
            ("\n[[registry]\n", "line 2: "),
            ("[[registry]]\ninsecure = true\n", "neither `prefix` nor"),
            ("[[registry]]\nprefix = \"*\"\n", "line 2: `*` is not"),
            (
                "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"b.io\"\npull-from-mirror = \"x\"\n",
                "line 5: `pull-from-mirror` must",
            ),
            (
                "[registries.search]\nregistries = []\n[registries.insecure]\nregistries = []\n",
                "line 3: this is version 1",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("`registries.conf`") && error.contains(message), "{text}\n{error}");
        }
    }

    #[test]
    fn the_users_file_replaces_the_systems() {
        let directory = tempfile::tempdir().unwrap();
        let [system, user] = ["system", "user"].map(|name| directory.path().join(name));
        let found = |named: Option<&str>| {
            let files = files(named.map(|name| directory.path().join(name)), Some(&user), &system).unwrap();
            let relative =
                |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().display().to_string();
            files.iter().map(relative).collect::<Vec<_>>()
        };
        assert!(found(None).is_empty());
        for path in [
            "system/registries.conf.d/2.conf",
            "system/registries.conf.d/1.conf",
            "user/registries.conf.d/3.conf",
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(system.join("registries.conf"), "").unwrap();
        let (one, two, three) = (
            "system/registries.conf.d/1.conf",
            "system/registries.conf.d/2.conf",
            "user/registries.conf.d/3.conf",
        );
        assert_eq!(found(None), ["system/registries.conf", one, two, three]);
        assert_eq!(found(Some("own.conf")), ["own.conf", one, two, three]);
        fs::write(user.join("registries.conf"), "").unwrap();
        assert_eq!(found(None), ["user/registries.conf", three]);
    }
}
