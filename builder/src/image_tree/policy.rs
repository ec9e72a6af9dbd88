//! Modification times, layers and the image config, as data.

use carafe_layers::format::FIXED_MTIME;
use carafe_layers::image::ImageChanges;
use carafe_layers::mtime::MtimePolicy;
use carafe_layers::pattern::{Pattern, Rule};
use carafe_layers::plan::LayerName;

use super::layout::{SCRIPTS_DIR, image_path};
use crate::bench::BENCH_DIR;
use crate::lock::Lock;

/// The files of an app have its commit's time, so that browsers fetch only changed ones. Generated
/// files have the newest commit's time: frappe's build version, with which browsers invalidate their
/// caches, is the mtime of assets.json. Dependencies and Carafe's scripts have a fixed time that does
/// not depend on the release.
pub(super) fn mtimes(lock: &Lock) -> MtimePolicy {
    let fixed = |pattern| Rule::new(pattern, FIXED_MTIME);
    let mut rules = vec![
        fixed(below("env")),
        fixed(below("apps").containing("node_modules")),
        fixed(Pattern::under(image_path(SCRIPTS_DIR))),
    ];
    rules.extend(lock.apps.iter().map(|app| Rule::new(app_directory(&app.name), app.time)));
    MtimePolicy { default: lock.source_date_epoch, rules }
}

/// Bottom up, from rarely to often changed: Python dependencies, each app's node_modules, each app,
/// the assets, and small files.
pub(super) fn layers(lock: &Lock) -> Vec<Rule<LayerName>> {
    let names = lock.apps.iter().map(|app| app.name.as_str());
    let modules = names.clone().map(|name| {
        let pattern = app_directory(name).containing("node_modules");
        Rule::new(pattern, format!("node_modules/{name}").into())
    });
    let apps = names.map(|name| Rule::new(app_directory(name), format!("apps/{name}").into()));
    let python = Rule::new(below("env"), "env".into());
    let assets = Rule::new(below("assets"), "assets".into());
    let rest = [image_path(BENCH_DIR), image_path(SCRIPTS_DIR)]
        .map(|path| Rule::new(Pattern::under(path), "sites and config".into()));
    [python].into_iter().chain(modules).chain(apps).chain([assets]).chain(rest).collect()
}

pub(super) fn changes(lock: &Lock) -> ImageChanges {
    ImageChanges {
        user: Some("frappe".to_owned()),
        entrypoint: Some(vec![format!("{SCRIPTS_DIR}/entrypoint.sh")]),
        cmd: Some(vec!["start.sh".to_owned()]),
        working_dir: Some(BENCH_DIR.to_owned()),
        volumes: ["sites", "logs"].map(|directory| format!("{BENCH_DIR}/{directory}")).into(),
        created: lock.source_date_epoch,
        ..ImageChanges::default()
    }
}

fn app_directory(name: &str) -> Pattern {
    below(&format!("apps/{name}"))
}

fn below(path: &str) -> Pattern {
    Pattern::under(image_path(&format!("{BENCH_DIR}/{path}")))
}
