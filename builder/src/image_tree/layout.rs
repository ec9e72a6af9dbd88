//! The layout of the image: moves the assets, and maps files to their paths in the image.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carafe_layers::format::MODE_EXECUTABLE;
use carafe_layers::path::ImagePath;
use carafe_layers::text::escape_bytes;
use carafe_layers::tree::{Owner, SourceMapping};

use super::error::ImageTreeError;
use crate::bench::BENCH_DIR;
use crate::normalize::{BenchTree, NormalizeError};

/// The directory of the scripts in the image.
pub(super) const SCRIPTS_DIR: &str = "/usr/local/bin";

/// The image's entrypoint and its default command. A change of one of them is a format break.
pub(super) const SCRIPTS: [(&str, &[u8]); 2] = [
    ("entrypoint.sh", include_bytes!("../../assets/entrypoint.sh")),
    ("start.sh", include_bytes!("../../assets/start.sh")),
];

/// The image's user `frappe`.
const FRAPPE: Owner = Owner { uid: 1000, gid: 1000 };
const ROOT: Owner = Owner { uid: 0, gid: 0 };

/// Checks that apps/ has the lock's apps, as directories, and nothing else.
pub(super) fn check_apps(tree: &BenchTree) -> Result<(), ImageTreeError> {
    let apps = Path::new("apps");
    let mut names: BTreeSet<OsString> = tree.names(apps)?.into_iter().collect();
    for app in tree.apps() {
        let exists = names.remove(&OsString::from(&app.name));
        if !exists || !tree.kind(&apps.join(&app.name))?.is_some_and(|kind| kind.is_dir()) {
            return Err(ImageTreeError::AppMissing { name: app.name.clone() });
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.iter().map(|name| escape_bytes(name.as_encoded_bytes())).collect();
    Err(ImageTreeError::UnknownApps { names: names.join(", ") })
}

/// Moves the assets out of sites/, which a volume hides, and creates the directories of both volumes.
pub(super) fn arrange(tree: &BenchTree) -> Result<(), NormalizeError> {
    tree.rename(Path::new("sites/assets"), Path::new("assets"))?;
    ["sites", "logs"].iter().try_for_each(|directory| tree.create_directory(Path::new(directory)))
}

/// Writes the scripts, and returns the source mappings.
pub(super) fn mappings(bench: &Path, scripts: &Path) -> Result<Vec<SourceMapping>, ImageTreeError> {
    let mut mappings =
        vec![SourceMapping { host: bench.to_owned(), image: image_path(BENCH_DIR), owner: FRAPPE }];
    for (name, content) in SCRIPTS {
        let host = scripts.join(name);
        let written = fs::create_dir_all(scripts)
            .and_then(|()| fs::write(&host, content))
            .and_then(|()| fs::set_permissions(&host, fs::Permissions::from_mode(MODE_EXECUTABLE)));
        written.map_err(|source| ImageTreeError::Script { path: host.clone(), source })?;
        mappings.push(SourceMapping {
            host,
            image: image_path(&format!("{SCRIPTS_DIR}/{name}")),
            owner: ROOT,
        });
    }
    Ok(mappings)
}

/// Parses a path that Carafe itself composes.
pub(super) fn image_path(path: &str) -> ImagePath {
    ImagePath::new(path).expect("constant paths and checked app names are in normal form")
}
